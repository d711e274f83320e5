// SPDX-License-Identifier: MPL-2.0

// A TLS client through a CONNECT proxy: arguments are proxy address, host:port, CA file, and options: version=1.2|1.3, times=N (connections,
// with a session cache), pin (a VerifyPeerCertificate that knows its own certificate only), pinlate (a VerifyConnection that does), groups=hybrid|first.
// Prints one line a connection: version, whether it was resumed, the key exchange, and the status line of GET /hello; or the error.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

var errPin = errors.New("not the certificate that was pinned")

func connect(proxy, target string, config *tls.Config) error {
	raw, err := net.Dial("tcp", proxy)
	if err != nil {
		return err
	}
	defer raw.Close()
	fmt.Fprintf(raw, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	reader := bufio.NewReader(raw)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
	}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	fmt.Fprintf(conn, "GET /hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", config.ServerName)
	answer := bufio.NewReader(conn)
	status, err := answer.ReadString('\n')
	if err != nil {
		return err
	}
	for { // to the end, so that tickets are read
		if _, err := answer.ReadString('\n'); err != nil {
			break
		}
	}
	state := conn.ConnectionState()
	fmt.Printf("%s %v %s", tls.VersionName(state.Version), state.DidResume, status)
	return conn.Close()
}

func main() {
	pem, err := os.ReadFile(os.Args[3])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	host, _, _ := net.SplitHostPort(os.Args[2])
	config := &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}
	times := 1
	for _, option := range os.Args[4:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "version":
			config.MinVersion = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[value]
			config.MaxVersion = config.MinVersion
		case "times":
			times, _ = strconv.Atoi(value)
			config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		case "groups": // hybrid: the only key share is one that nobody here knows, so that a HelloRetryRequest is needed
			config.CurvePreferences = map[string][]tls.CurveID{"hybrid": {tls.X25519MLKEM768, tls.CurveP384}, "first": {tls.X25519MLKEM768, tls.X25519}}[value]
		case "pin":
			config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return errPin }
		case "pinlate":
			config.VerifyConnection = func(tls.ConnectionState) error { return errPin }
		}
	}
	for i := 0; i < times; i++ {
		if err := connect(os.Args[1], os.Args[2], config); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
}
