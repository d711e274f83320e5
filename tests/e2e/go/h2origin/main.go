// SPDX-License-Identifier: MPL-2.0

// An origin of Go's net/http with TLS and HTTP/2: arguments are certificate and key. Prints its port. /hello says the protocol, /echo gives
// the body back as it comes, /trailers has one. With GODEBUG=http2xconnect=1 it takes extended CONNECT: /ws gives WebSocket frames back.
package main

import (
	"bufio"
	"encoding/binary"
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

// A frame's first byte and its payload, without the mask.
func frame(from *bufio.Reader) (byte, []byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	if more := map[uint64]int{126: 2, 127: 8}[size]; more > 0 {
		var long [8]byte
		if _, err := io.ReadFull(from, long[8-more:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	rest := make([]byte, 4+size)
	if _, err := io.ReadFull(from, rest); err != nil {
		return 0, nil, err
	}
	for i := range rest[4:] {
		rest[4+i] ^= rest[i%4]
	}
	return head[0], rest[4:], nil
}

func websocket(w http.ResponseWriter, r *http.Request) {
	if r.Method != "CONNECT" || r.Header.Get(":protocol") != "websocket" {
		http.Error(w, "extended CONNECT is wanted, not "+r.Method, 400)
		return
	}
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	for from := bufio.NewReader(r.Body); ; {
		first, payload, err := frame(from)
		if err != nil {
			return
		}
		head := []byte{first, byte(len(payload))}
		if len(payload) >= 65536 {
			head = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(len(payload)))
		} else if len(payload) >= 126 {
			head = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(len(payload)))
		}
		w.Write(append(head, payload...))
		w.(http.Flusher).Flush()
		if first&15 == 8 {
			return
		}
	}
}

func main() {
	http.HandleFunc("/ws", websocket)
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
