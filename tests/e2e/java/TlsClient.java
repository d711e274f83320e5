// SPDX-License-Identifier: MPL-2.0

// A TLS client through a CONNECT proxy, run from its source: arguments are proxy host, proxy port, host, port, CA file, version ("TLSv1.3").
// Prints the protocol and the status line of GET /hello, or the error.
import java.io.*;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.*;

public class TlsClient {
    static String line(InputStream in) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int c = in.read(); c >= 0; c = in.read()) {
            out.write(c);
            if (c == '\n') break;
        }
        return out.toString(StandardCharsets.ISO_8859_1);
    }

    public static void main(String[] a) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream in = new FileInputStream(a[4])) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        Socket raw = new Socket(a[0], Integer.parseInt(a[1]));
        String target = a[2] + ":" + a[3];
        raw.getOutputStream().write(("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n").getBytes());
        while (!line(raw.getInputStream()).equals("\r\n")) { }
        try (SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(raw, a[2], Integer.parseInt(a[3]), true)) {
            tls.setEnabledProtocols(new String[] {a[5]});
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            tls.setSSLParameters(parameters);
            tls.startHandshake();
            tls.getOutputStream().write(("GET /hello HTTP/1.1\r\nHost: " + a[2] + "\r\nConnection: close\r\n\r\n").getBytes());
            System.out.println(tls.getSession().getProtocol() + " " + line(tls.getInputStream()).trim());
        } catch (SSLException error) {
            System.out.println("error " + error.getMessage());
            System.exit(1);
        }
    }
}
