package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// sink is the floor: it takes the same producers and does the least that can be done
// with their bytes, read and append to a file. It runs as a process of its own.
func sink(address, dir string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("sink on", l.Addr())
	for n := 0; ; n++ {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go sinkOne(c, filepath.Join(dir, fmt.Sprintf("%d.rtp", n)))
	}
}

func sinkOne(c net.Conn, file string) {
	defer c.Close()
	if !sinkHandshake(c) {
		return
	}
	out, err := os.Create(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer out.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := out.Write(buf[:n]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
	}
}

// sinkHandshake says 200 to everything up to RECORD.
func sinkHandshake(c net.Conn) bool {
	br := bufio.NewReaderSize(c, 4096)
	for {
		first, err := br.ReadString('\n')
		if err != nil {
			return false
		}
		length, cseq, transport := 0, "", ""
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return false
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			k, v, _ := strings.Cut(line, ": ")
			switch strings.ToLower(k) {
			case "content-length":
				if _, err := fmt.Sscan(v, &length); err != nil {
					return false
				}
			case "cseq":
				cseq = v
			case "transport":
				transport = "Transport: " + v + "\r\n"
			}
		}
		if _, err := br.Discard(length); err != nil {
			return false
		}
		if _, err := fmt.Fprintf(c, "RTSP/1.0 200 OK\r\nCSeq: %s\r\nSession: 1\r\n%s\r\n", cseq, transport); err != nil {
			return false
		}
		if strings.HasPrefix(first, "RECORD") {
			return true
		}
	}
}
