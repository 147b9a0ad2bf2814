import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.TimeoutCountDown;

/**
 * A provider and clients of the real Dubbo, 2.7 or 3, for tests of what speaks
 * its protocol.
 *
 *   provider PORT NAME           serves until its input ends
 *   once PORT                    one call of each kind, and prints what came back
 *   refused PORT USER...         prints the error that a call for each user ends in
 *   hurried PORT                 one call that says how long it is waited for
 *   idle PORT                    one call, another once its input ends
 *   load PORT[,PORT] THREADS     calls until its input ends, then says how many failed
 */
public class Dubbo {
    /** 127.0.0.1 as one number: what begins with 127 Dubbo takes for every address. */
    static final String LOOPBACK = "2130706433";

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

    public static class Served implements Payments {
        final String name;

        Served(String name) {
            this.name = name;
        }

        public String pay(String user, long cents, Order order) {
            Object stamp = RpcContext.getContext().getAttachment("polis-stamp");
            return name + " took " + cents + " of " + user + (stamp == null ? "" : " " + stamp) + left();
        }

        /** Dubbo 2.7 keeps it beside the attachments, Dubbo 3 among them. */
        static String left() {
            Object kept = RpcContext.getContext().get("timeout-countdown");
            Object left = kept != null ? kept : RpcContext.getContext().getObjectAttachment("timeout-countdown");
            return left == null ? "" : " with " + ((TimeoutCountDown) left).timeRemaining(TimeUnit.MILLISECONDS) + " ms left";
        }

        public Order find(Query query) {
            return order(query.user);
        }

        public String refuse(String user) {
            throw new IllegalStateException("not for " + user);
        }

        public void note(String user, String text) {
            System.out.println("noted " + text + " of " + user);
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
        ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
        protocol.setHost(LOOPBACK);
        ServiceConfig<Payments> service = new ServiceConfig<>();
        service.setApplication(application("payments"));
        service.setRegistry(new RegistryConfig("N/A"));
        service.setProtocol(protocol);
        service.setInterface(Payments.class);
        service.setVersion("1.0");
        service.setRef(new Served(name));
        service.export();
        System.out.println("provider is up");
        while (System.in.read() >= 0) {
        }
        System.exit(0);
    }

    static ApplicationConfig application(String name) {
        ApplicationConfig application = new ApplicationConfig(name);
        application.setQosEnable(false);
        return application;
    }

    /** One that idles asks every so many milliseconds, and leaves after three without an answer. */
    static Payments consumer(String ports, int heartbeat) {
        return consumer(ports, "&heartbeat=" + heartbeat);
    }

    static Payments consumer(String ports, String options) {
        MethodConfig note = new MethodConfig();
        note.setName("note");
        note.setReturn(false);
        ReferenceConfig<Payments> reference = new ReferenceConfig<>();
        reference.setApplication(application("shop"));
        reference.setInterface(Payments.class);
        reference.setVersion("1.0");
        List<String> urls = new ArrayList<>();
        for (String port : ports.split(",")) {
            urls.add("dubbo://" + LOOPBACK + ":" + port + "?serialization=hessian2" + options);
        }
        reference.setUrl(String.join(";", urls));
        reference.setMethods(new ArrayList<>(Arrays.asList(note)));
        reference.setTimeout(30000);
        reference.setRetries(0);
        return reference.get();
    }

    static void once(String ports) throws Exception {
        Payments payments = consumer(ports, 60000);
        RpcContext.getContext().setAttachment("polis-uid", "2088000000000421");
        System.out.println(payments.pay("2088000000000421", 100L, order("2088000000000421")));
        RpcContext.getContext().removeAttachment("polis-uid");
        System.out.println(payments.pay("2088000000000422", 200L, null));
        Query query = new Query();
        query.user = "2088000000000423";
        query.limit = 3;
        query.self = query;
        Order found = payments.find(query);
        System.out.println("found " + found.user + " " + (found.before == found) + " " + found.extras.get("large").toString().length());
        try {
            payments.refuse("2088000000000424");
        } catch (IllegalStateException refused) {
            System.out.println("refused: " + refused.getMessage());
        } catch (Throwable other) {
            System.out.println("threw " + other.getClass().getName() + ": " + other.getMessage());
        }
        payments.note("2088000000000425", "this");
        System.out.println(payments.pay("2088000000000426", 300L, null));
        System.exit(0);
    }

    static void refused(String ports, String[] users) throws Exception {
        Payments payments = consumer(ports, 60000);
        for (String user : users) {
            try {
                System.out.println("not refused: " + payments.pay(user, 100L, null));
            } catch (Throwable error) {
                System.out.println("refused " + user + ": " + error);
            }
        }
        System.exit(0);
    }

    static void hurried(String ports) throws Exception {
        Payments payments = consumer(ports, "&enable-timeout-countdown=true");
        System.out.println(payments.pay("2088000000000420", 100L, null));
        System.exit(0);
    }

    static void idle(String ports) throws Exception {
        Payments payments = consumer(ports, 1000);
        System.out.println(payments.pay("2088000000000420", 100L, null));
        while (System.in.read() >= 0) {
        }
        System.out.println(payments.pay("2088000000000420", 200L, null));
        System.exit(0);
    }

    static void load(String ports, int threads) throws Exception {
        Payments payments = consumer(ports, 60000);
        AtomicInteger calls = new AtomicInteger();
        AtomicInteger failed = new AtomicInteger();
        boolean[] done = {false};
        List<Thread> all = new ArrayList<>();
        for (int n = 0; n < threads; n++) {
            String user = "20880000000004" + String.format("%02d", n % 20);
            boolean named = n % 2 == 0;
            Thread thread = new Thread(() -> {
                for (long cents = 1; !done[0]; cents++) {
                    try {
                        if (named) {
                            RpcContext.getContext().setAttachment("polis-uid", user);
                        }
                        String told = payments.pay(user, cents, null);
                        if (!told.contains(" took " + cents + " of " + user)) {
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

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "provider" -> provider(Integer.parseInt(args[1]), args[2]);
            case "once" -> once(args[1]);
            case "refused" -> refused(args[1], Arrays.copyOfRange(args, 2, args.length));
            case "hurried" -> hurried(args[1]);
            case "idle" -> idle(args[1]);
            case "load" -> load(args[1], Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }
}
