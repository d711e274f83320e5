// SPDX-License-Identifier: MPL-2.0

// A client that pins its origin's certificate. Arguments: the proxy's URL, the SHA-256 of the certificate's DER in hex, a URL, and when it
// looks at the pin: "handshake" (VerifyPeerCertificate: the failure is an alert) or "after" (when the handshake is done, it hangs up).
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
)

var errPin = errors.New("not the certificate that is pinned")

func main() {
	proxy, err := url.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	pin, when := os.Args[2], os.Args[4]
	fits := func(raw []byte) error {
		sum := sha256.Sum256(raw)
		if hex.EncodeToString(sum[:]) != pin {
			return errPin
		}
		return nil
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "origin.test"}
	if when == "handshake" {
		config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { return fits(raw[0]) }
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		conn, err := net.Dial("tcp", proxy.Host)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address)
		answer := make([]byte, 0, 256)
		for len(answer) < 4 || string(answer[len(answer)-4:]) != "\r\n\r\n" {
			one := make([]byte, 1)
			if _, err := io.ReadFull(conn, one); err != nil {
				return nil, err
			}
			answer = append(answer, one[0])
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		if when == "after" {
			if err := fits(secured.ConnectionState().PeerCertificates[0].Raw); err != nil {
				conn.Close()
				return nil, err
			}
		}
		return secured, nil
	}
	client := &http.Client{Transport: &http.Transport{DialTLSContext: dial}}
	response, err := client.Get(os.Args[3])
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	body, _ := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, len(body))
}
