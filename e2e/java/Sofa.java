import com.alipay.remoting.BizContext;
import com.alipay.remoting.InvokeContext;
import com.alipay.remoting.rpc.RpcClient;
import com.alipay.remoting.rpc.RpcServer;
import com.alipay.remoting.rpc.protocol.SyncUserProcessor;
import com.alipay.sofa.rpc.config.ApplicationConfig;
import com.alipay.sofa.rpc.config.ConsumerConfig;
import com.alipay.sofa.rpc.config.MethodConfig;
import com.alipay.sofa.rpc.config.ProviderConfig;
import com.alipay.sofa.rpc.config.ServerConfig;
import com.alipay.sofa.rpc.core.exception.SofaRpcException;
import com.alipay.sofa.rpc.core.request.SofaRequest;
import com.alipay.sofa.rpc.core.response.SofaResponse;
import com.alipay.sofa.rpc.filter.Filter;
import com.alipay.sofa.rpc.filter.FilterInvoker;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A provider and clients of the real SOFARPC, for tests of what speaks its protocol.
 *
 *   provider PORT NAME           serves until its input ends
 *   once PORT                    one call of each kind, and prints what came back
 *   refused PORT USER...         prints the error that a call for each user ends in
 *   idle PORT                    one call, another once its input ends
 *   echo-provider PORT           as provider, of bare Bolt without SOFARPC
 *   echo PORT                    calls that one in each version of Bolt
 *   load PORT THREADS            calls until its input ends, then says how many failed
 */
public class Sofa {
    public interface Payments {
        String pay(String user, long cents, Order order);
        Order find(Query query);
        String refuse(String user);
        void note(String user, String text);
    }

    public static class Query implements Serializable {
        public String user;
        public int limit;
        public Query self;
    }

    public static class Order implements Serializable {
        public String id;
        public String user;
        public long cents;
        public int units;
        public double rate;
        public boolean gift;
        public Date due;
        public byte[] seal;
        public List<String> tags;
        public Map<String, Object> extras;
        public Order before;
    }

    public static class Refused extends RuntimeException {
        public Refused(String message) {
            super(message);
        }
    }

    static class Served implements Payments {
        final String name;

        Served(String name) {
            this.name = name;
        }

        public String pay(String user, long cents, Order order) {
            return name + " took " + cents + " of " + user;
        }

        public Order find(Query query) {
            return order(query.user);
        }

        public String refuse(String user) {
            throw new Refused("not for " + user);
        }

        public void note(String user, String text) {
            System.out.println("noted " + text + " of " + user);
        }
    }

    /** Says in the header whom a call is about. */
    static class Named extends Filter {
        static final ThreadLocal<String> USER = new ThreadLocal<>();

        @Override
        public SofaResponse invoke(FilterInvoker invoker, SofaRequest request) throws SofaRpcException {
            if (USER.get() != null) {
                request.addRequestProp("polis-uid", USER.get());
            }
            return invoker.invoke(request);
        }
    }

    static Order order(String user) {
        Order order = new Order();
        order.id = "order-1";
        order.user = user;
        order.cents = 1234567890123L;
        order.units = -7;
        order.rate = 0.25;
        order.gift = true;
        order.due = new Date(1700000000123L);
        order.seal = new byte[] {1, 2, 3};
        order.tags = new ArrayList<>(Arrays.asList("\u00e9", "\u5f20\u4e09", "\ud83d\ude00"));
        order.extras = new HashMap<>();
        order.extras.put("large", "\ud83d\ude00x".repeat(Integer.getInteger("large", 30000)));
        order.extras.put("many", new ArrayList<>(Arrays.asList(1, 300, 70000, 1L << 40, 1.5)));
        order.before = order;
        return order;
    }

    static void provider(int port, String name) throws Exception {
        ServerConfig server = new ServerConfig()
            .setProtocol("bolt").setHost("127.0.0.1").setPort(port).setDaemon(true);
        new ProviderConfig<Payments>()
            .setApplication(new ApplicationConfig().setAppName("payments"))
            .setInterfaceId(Payments.class.getName())
            .setRef(new Served(name)).setServer(server).setRegister(false).export();
        System.out.println("provider is up");
        while (System.in.read() >= 0) {
        }
        System.exit(0);
    }

    static ConsumerConfig<Payments> consumer(int port) {
        MethodConfig note = new MethodConfig().setName("note").setInvokeType("oneway");
        return new ConsumerConfig<Payments>()
            .setApplication(new ApplicationConfig().setAppName("shop"))
            .setInterfaceId(Payments.class.getName())
            .setProtocol("bolt").setDirectUrl("bolt://127.0.0.1:" + port)
            .setMethods(new ArrayList<>(Arrays.asList(note)))
            .setFilterRef(new ArrayList<>(Arrays.asList(new Named())))
            .setTimeout(30000).setRetries(0).setConnectionNum(1).setRegister(false);
    }

    static void once(int port) throws Exception {
        Payments payments = consumer(port).refer();
        Named.USER.set("2088000000000421");
        System.out.println(payments.pay("2088000000000421", 100L, order("2088000000000421")));
        Named.USER.remove();
        System.out.println(payments.pay("2088000000000422", 200L, null));
        Query query = new Query();
        query.user = "2088000000000423";
        query.limit = 3;
        query.self = query;
        Order found = payments.find(query);
        System.out.println("found " + found.user + " " + (found.before == found) + " " + found.extras.get("large").toString().length());
        try {
            payments.refuse("2088000000000424");
        } catch (Refused refused) {
            System.out.println("refused: " + refused.getMessage());
        } catch (Throwable other) {
            System.out.println("threw " + other.getClass().getName() + ": " + other.getMessage());
        }
        payments.note("2088000000000425", "this");
        System.out.println(payments.pay("2088000000000426", 300L, null));
        System.exit(0);
    }

    static void refused(int port, String[] users) throws Exception {
        Payments payments = consumer(port).refer();
        for (String user : users) {
            try {
                System.out.println("not refused: " + payments.pay(user, 100L, null));
            } catch (Throwable error) {
                System.out.println("refused " + user + ": " + error);
            }
        }
        System.exit(0);
    }

    static void idle(int port) throws Exception {
        Payments payments = consumer(port).refer();
        System.out.println(payments.pay("2088000000000420", 100L, null));
        while (System.in.read() >= 0) {
        }
        System.out.println(payments.pay("2088000000000420", 200L, null));
        System.exit(0);
    }

    static void load(int port, int threads) throws Exception {
        Payments payments = consumer(port).refer();
        AtomicInteger calls = new AtomicInteger();
        AtomicInteger failed = new AtomicInteger();
        boolean[] done = {false};
        List<Thread> all = new ArrayList<>();
        for (int n = 0; n < threads; n++) {
            String user = "20880000000004" + String.format("%02d", n % 20);
            boolean named = n % 2 == 0;
            Thread thread = new Thread(() -> {
                if (named) {
                    Named.USER.set(user);
                }
                for (long cents = 1; !done[0]; cents++) {
                    try {
                        String told = payments.pay(user, cents, null);
                        if (!told.endsWith(" took " + cents + " of " + user)) {
                            throw new IllegalStateException("another call's answer: " + told);
                        }
                        // Even users live in a, odd ones in b.
                        String home = (user.charAt(15) - '0') % 2 == 0 ? "a" : "b";
                        if (!told.startsWith(home)) {
                            throw new IllegalStateException("misrouted: " + told);
                        }
                    } catch (Throwable error) {
                        if (failed.incrementAndGet() <= 5) {
                            System.out.println("failed: " + error);
                        }
                    }
                    if (calls.incrementAndGet() % 1000 == 0) {
                        System.out.println("calls " + calls.get());
                    }
                }
            });
            all.add(thread);
            thread.start();
        }
        while (System.in.read() >= 0) {
        }
        done[0] = true;
        for (Thread thread : all) {
            thread.join();
        }
        System.out.println(calls.get() + " calls, " + failed.get() + " failed");
        System.exit(0);
    }

    static void echoProvider(int port) throws Exception {
        RpcServer server = new RpcServer("127.0.0.1", port);
        server.registerUserProcessor(new SyncUserProcessor<String>() {
            @Override
            public Object handleRequest(BizContext context, String request) {
                return "echo of " + request;
            }

            @Override
            public String interest() {
                return String.class.getName();
            }
        });
        server.startup();
        System.out.println("provider is up");
        while (System.in.read() >= 0) {
        }
        System.exit(0);
    }

    static void echo(int port) throws Exception {
        for (String version : new String[] {"_PROTOCOL=1", "_PROTOCOL=2&_VERSION=1", "_PROTOCOL=2&_VERSION=2"}) {
            // Another connection: it keeps the version it began with.
            RpcClient client = new RpcClient();
            client.startup();
            for (boolean checked : new boolean[] {true, false}) {
                InvokeContext context = new InvokeContext();
                context.put(InvokeContext.BOLT_CRC_SWITCH, checked);
                Object told = client.invokeSync("127.0.0.1:" + port + "?" + version, version + " " + checked, context, 5000);
                System.out.println(told);
            }
        }
        System.exit(0);
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        switch (args[0]) {
            case "provider" -> provider(port, args[2]);
            case "once" -> once(port);
            case "refused" -> refused(port, Arrays.copyOfRange(args, 2, args.length));
            case "idle" -> idle(port);
            case "echo-provider" -> echoProvider(port);
            case "echo" -> echo(port);
            case "load" -> load(port, Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }
}
