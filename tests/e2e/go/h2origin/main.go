// SPDX-License-Identifier: MPL-2.0

// An origin of Go's net/http with TLS and HTTP/2: arguments are certificate and key. Prints its port. /hello says the protocol, /echo gives
// the body back as it comes, /trailers has one.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func echo(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(200)
	piece := make([]byte, 32768)
	for {
		n, err := r.Body.Read(piece)
		if n > 0 {
			if _, bad := w.Write(piece[:n]); bad != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
		if err != nil {
			return
		}
	}
}

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello over "+r.Proto) })
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Check")
		io.WriteString(w, "body")
		w.Header().Set("X-Check", "done")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.ServeTLS(listener, nil, os.Args[1], os.Args[2]))
}
