package queue

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// mqttPacer stands before the server's MQTT listener and lets each connection publish at
// its own pace only. The server itself reads 1,024 publishes ahead per connection, and all
// devices share the streams behind it: without a pace, one device's flood holds up the
// PUBACKs of all (measured: seconds).
type mqttPacer struct {
	ln    net.Listener
	to    string        // the server's listener, on the loopback address
	every time.Duration // between two publishes
	burst time.Duration // how much may be saved up

	all   sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; nil: closed
}

// mqttMaxPacket is the largest packet taken: an event has 64 KiB, and a will comes with CONNECT.
const mqttMaxPacket = 256 << 10

// publishesSavedUp is the burst in publishes.
const publishesSavedUp = 20

func startPacer(m *MQTT, to string) (*mqttPacer, error) {
	ln, err := net.Listen("tcp", m.Listen)
	if err != nil {
		return nil, err
	}
	if m.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(m.CertFile, m.KeyFile)
		if err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	every := time.Duration(float64(time.Second) / m.rate())
	p := &mqttPacer{ln: ln, to: to, every: every, burst: publishesSavedUp * every, conns: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	return p, nil
}

func (p *mqttPacer) accept() {
	for {
		conn, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: others may close some
			continue
		}
		if p.keep(conn) {
			p.all.Go(func() { p.serve(conn) })
		}
	}
}

// keep notes a connection, so that close ends it; after close it is ended here.
func (p *mqttPacer) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *mqttPacer) drop(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// serve passes one connection on until either side ends it.
func (p *mqttPacer) serve(device net.Conn) {
	defer p.drop(device)
	srv, err := net.Dial("tcp", p.to)
	if err != nil || !p.keep(srv) {
		return
	}
	var back sync.WaitGroup
	defer back.Wait()
	defer p.drop(srv)
	back.Go(func() {
		defer func() { _ = device.Close() }() // wakes the loop below
		_, _ = io.Copy(device, srv)
	})
	in := bufio.NewReader(device)
	var free time.Time // when the bucket is full again
	for {
		packet, err := readPacket(in)
		if err != nil {
			return
		}
		if packet[0]>>4 == 3 { // PUBLISH
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			time.Sleep(free.Sub(now) - p.burst)
			free = free.Add(p.every)
		}
		if _, err := srv.Write(packet); err != nil {
			return
		}
	}
}

var errPacket = errors.New("not an MQTT packet, or too large")

// readPacket reads one control packet whole.
func readPacket(in *bufio.Reader) ([]byte, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	size, err := binary.ReadUvarint(in)
	if err != nil || size > mqttMaxPacket {
		return nil, errors.Join(errPacket, err)
	}
	packet := binary.AppendUvarint([]byte{kind}, size)
	head := len(packet)
	packet = append(packet, make([]byte, size)...)
	_, err = io.ReadFull(in, packet[head:])
	return packet, err
}

// close ends the listener and every connection.
func (p *mqttPacer) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.all.Wait()
}
