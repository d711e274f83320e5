// SPDX-License-Identifier: MPL-2.0

// A net/http client: arguments are the proxy's URL, a CA file and URLs; prints status, protocol and body length of each.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

func main() {
	proxy, err := url.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		panic("no certificate in " + os.Args[2])
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyURL(proxy),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}}
	for _, target := range os.Args[3:] {
		response, err := client.Get(target)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		response.Body.Close()
		fmt.Println(response.StatusCode, response.Proto, len(body))
	}
}
