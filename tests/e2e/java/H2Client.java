// SPDX-License-Identifier: MPL-2.0

// java.net.http.HttpClient with HTTP/2 through a CONNECT proxy, run from its source: arguments are proxy host, proxy port, base URL, CA file,
// count. Asks for so many at once, and uploads; prints version, status and size of each kind.
import java.io.FileInputStream;
import java.io.InputStream;
import java.net.*;
import java.net.http.*;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.*;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.*;

public class H2Client {
    public static void main(String[] a) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream in = new FileInputStream(a[3])) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).sslContext(context)
            .proxy(ProxySelector.of(new InetSocketAddress(a[0], Integer.parseInt(a[1])))).build();
        say(client.send(get(a[2] + "/hello"), HttpResponse.BodyHandlers.ofByteArray()));
        List<CompletableFuture<HttpResponse<byte[]>>> all = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(a[4]); i++)
            all.add(client.sendAsync(get(a[2] + "/bytes/200000"), HttpResponse.BodyHandlers.ofByteArray()));
        for (CompletableFuture<HttpResponse<byte[]>> one : all) say(one.get());
        HttpRequest post = HttpRequest.newBuilder(URI.create(a[2] + "/echo"))
            .POST(HttpRequest.BodyPublishers.ofByteArray(new byte[3000000])).build();
        say(client.send(post, HttpResponse.BodyHandlers.ofByteArray()));
    }

    static HttpRequest get(String url) {
        return HttpRequest.newBuilder(URI.create(url)).build();
    }

    static void say(HttpResponse<byte[]> got) {
        System.out.println(got.version() + " " + got.statusCode() + " " + got.body().length);
    }
}
