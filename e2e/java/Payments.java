import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.Context;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A provider and clients of the real grpc-java, for tests of what carries gRPC.
 *
 *   provider PORT NAME           serves until its input ends
 *   once PORT [CA]               one call of each kind, and prints what came back
 *   load PORT THREADS            calls until its input ends, then says how many failed
 */
public class Payments {
    /** Messages are text as it is: what carries them never looks inside. */
    static class Text implements MethodDescriptor.Marshaller<String> {
        public InputStream stream(String value) {
            return new ByteArrayInputStream(value.getBytes(StandardCharsets.UTF_8));
        }

        public String parse(InputStream stream) {
            try {
                return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
            } catch (IOException error) {
                throw new RuntimeException(error);
            }
        }
    }

    static MethodDescriptor<String, String> method(MethodType type, String name) {
        return MethodDescriptor.<String, String>newBuilder()
            .setType(type).setFullMethodName("bank.Payments/" + name)
            .setRequestMarshaller(new Text()).setResponseMarshaller(new Text()).build();
    }

    static final MethodDescriptor<String, String> PAY = method(MethodType.UNARY, "Pay");
    static final MethodDescriptor<String, String> REFUSE = method(MethodType.UNARY, "Refuse");
    static final MethodDescriptor<String, String> WAIT = method(MethodType.UNARY, "Wait");
    static final MethodDescriptor<String, String> LIST = method(MethodType.SERVER_STREAMING, "List");
    static final MethodDescriptor<String, String> SUM = method(MethodType.CLIENT_STREAMING, "Sum");
    static final MethodDescriptor<String, String> TALK = method(MethodType.BIDI_STREAMING, "Talk");

    static final Metadata.Key<String> WHY = Metadata.Key.of("why", Metadata.ASCII_STRING_MARSHALLER);
    static final Metadata.Key<byte[]> PROOF = Metadata.Key.of("proof-bin", Metadata.BINARY_BYTE_MARSHALLER);
    static final Metadata.Key<String> USER = Metadata.Key.of("polis-uid", Metadata.ASCII_STRING_MARSHALLER);

    static synchronized void say(String text) {
        System.out.println(text);
    }

    static void provider(int port, String name) throws Exception {
        ServerServiceDefinition service = ServerServiceDefinition.builder("bank.Payments")
            .addMethod(PAY, ServerCalls.asyncUnaryCall((String order, StreamObserver<String> answer) -> {
                answer.onNext(name + " took " + order);
                answer.onCompleted();
            }))
            .addMethod(REFUSE, ServerCalls.asyncUnaryCall((String order, StreamObserver<String> answer) -> {
                Metadata trailers = new Metadata();
                trailers.put(WHY, "limit");
                trailers.put(PROOF, new byte[] {0, 1, -1});
                answer.onError(Status.FAILED_PRECONDITION
                    .withDescription("not for " + order + " \u00e9").asRuntimeException(trailers));
            }))
            // Never answers: says what it was told, and when it may stop.
            .addMethod(WAIT, ServerCalls.asyncUnaryCall((String order, StreamObserver<String> answer) -> {
                Context context = Context.current();
                boolean limited = context.getDeadline() != null
                    && context.getDeadline().timeRemaining(TimeUnit.SECONDS) < 60;
                say(order + (limited ? " has a deadline" : " has none"));
                context.addListener(ended -> say(order + " was given up"), Runnable::run);
            }))
            .addMethod(LIST, ServerCalls.asyncServerStreamingCall((String count, StreamObserver<String> answer) -> {
                for (int number = 0; number < Integer.parseInt(count); number++) {
                    answer.onNext(name + " " + number + " " + "x".repeat(1000));
                }
                answer.onCompleted();
            }))
            .addMethod(SUM, ServerCalls.asyncClientStreamingCall((StreamObserver<String> answer) -> new Each() {
                long sum;

                public void onNext(String number) {
                    sum += number.length();
                }

                public void onCompleted() {
                    answer.onNext(name + " " + sum);
                    answer.onCompleted();
                }
            }))
            .addMethod(TALK, ServerCalls.asyncBidiStreamingCall((StreamObserver<String> answer) -> new Each() {
                public void onNext(String word) {
                    answer.onNext(name + " heard " + word);
                }

                public void onCompleted() {
                    answer.onCompleted();
                }
            }))
            .build();
        Server server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
            .addService(service).build().start();
        say("provider is up");
        while (System.in.read() >= 0) {
        }
        server.shutdownNow();
        System.exit(0);
    }

    abstract static class Each implements StreamObserver<String> {
        public void onError(Throwable error) {
        }
    }

    static ManagedChannel connect(int port, String ca) throws Exception {
        NettyChannelBuilder builder = NettyChannelBuilder.forAddress(new InetSocketAddress("127.0.0.1", port));
        if (ca == null) {
            return builder.usePlaintext().build();
        }
        return builder.overrideAuthority("localhost")
            .sslContext(GrpcSslContexts.forClient().trustManager(new File(ca)).build()).build();
    }

    static CallOptions within(long seconds) {
        return CallOptions.DEFAULT.withDeadlineAfter(seconds, TimeUnit.SECONDS);
    }

    static Channel as(ManagedChannel channel, String user) {
        Metadata headers = new Metadata();
        headers.put(USER, user);
        return ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
    }

    static String pay(Channel channel, String order) {
        return ClientCalls.blockingUnaryCall(channel, PAY, within(50), order);
    }

    /** Each word is said once the answer to the one before was heard. */
    static String talk(Channel channel, List<String> words) throws Exception {
        LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        StreamObserver<String> out = ClientCalls.asyncBidiStreamingCall(
            channel.newCall(TALK, within(50)), new StreamObserver<String>() {
                public void onNext(String word) {
                    heard.add(word);
                }

                public void onError(Throwable error) {
                    heard.add("failed: " + error);
                }

                public void onCompleted() {
                    heard.add("done");
                }
            });
        StringBuilder all = new StringBuilder();
        for (String word : words) {
            out.onNext(word);
            all.append(heard.take()).append(", ");
        }
        out.onCompleted();
        return all.append(heard.take()).toString();
    }

    static void once(int port, String ca) throws Exception {
        ManagedChannel plain = connect(port, ca);
        Channel channel = as(plain, "2088000000000001");
        say("paid: " + pay(channel, "1"));
        say("paid: " + pay(as(plain, "2088000000000002"), "2"));
        say("large: " + pay(channel, "x".repeat(1_000_000)).length());
        Iterator<String> list = ClientCalls.blockingServerStreamingCall(channel, LIST, within(50), "2000");
        int count = 0;
        long bytes = 0;
        for (; list.hasNext(); count++) {
            bytes += list.next().length();
        }
        say("listed: " + count + " with " + bytes);
        sum(channel);
        say("talked: " + talk(channel, List.of("one", "two", "three")));
        try {
            ClientCalls.blockingUnaryCall(channel, REFUSE, within(50), "me");
        } catch (StatusRuntimeException error) {
            byte[] proof = error.getTrailers().get(PROOF);
            say("refused: " + error.getStatus().getCode() + " " + error.getStatus().getDescription()
                .equals("not for me \u00e9") + " " + error.getTrailers().get(WHY) + " " + proof.length);
        }
        try {
            ClientCalls.blockingUnaryCall(channel, method(MethodType.UNARY, "Nothing"), within(50), "");
        } catch (StatusRuntimeException error) {
            say("unknown: " + error.getStatus().getCode());
        }
        try {
            ClientCalls.blockingUnaryCall(channel, WAIT, within(10), "late");
        } catch (StatusRuntimeException error) {
            say("late: " + error.getStatus().getCode());
        }
        plain.shutdownNow();
    }

    static void sum(Channel channel) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        StreamObserver<String> numbers = ClientCalls.asyncClientStreamingCall(
            channel.newCall(SUM, within(50)), new StreamObserver<String>() {
                public void onNext(String sum) {
                    say("summed: " + sum);
                }

                public void onError(Throwable error) {
                    say("summed: " + error);
                    done.countDown();
                }

                public void onCompleted() {
                    done.countDown();
                }
            });
        for (int number = 0; number < 500; number++) {
            numbers.onNext("x".repeat(1000));
        }
        numbers.onCompleted();
        done.await();
    }

    static void load(int port, int threads) throws Exception {
        ManagedChannel plain = connect(port, null);
        Channel channel = as(plain, "2088000000000001");
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger calls = new AtomicInteger();
        AtomicInteger failed = new AtomicInteger();
        Runnable caller = () -> {
            while (!stop.get()) {
                try {
                    pay(channel, "1");
                    String talked = talk(channel, List.of("one", "two"));
                    if (!talked.endsWith("done")) {
                        throw new RuntimeException(talked);
                    }
                    int all = calls.addAndGet(2);
                    if (all % 100 == 0) {
                        say("after " + all);
                    }
                } catch (Exception error) {
                    failed.incrementAndGet();
                    say("failed: " + error);
                }
            }
        };
        Thread[] all = new Thread[threads];
        for (int number = 0; number < threads; number++) {
            all[number] = new Thread(caller);
            all[number].start();
        }
        while (System.in.read() >= 0) {
        }
        stop.set(true);
        for (Thread thread : all) {
            thread.join();
        }
        plain.shutdownNow();
        say(calls + " calls, " + failed + " failed");
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        switch (args[0]) {
            case "provider" -> provider(port, args[2]);
            case "once" -> once(port, args.length > 2 ? args[2] : null);
            case "load" -> load(port, Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }
}
