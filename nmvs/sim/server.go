package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"decom/nmvs"
)

// Start serves on addrs: none is one free port of 127.0.0.1, one serves all
// services, four serve single, bulk, mixed and support, in this order. The
// URLs are what a client's configuration wants. It serves until ctx ends or
// stop is called; stop tears what is under way, ends every goroutine and may
// be called more than once. The simulator cannot be started again after that.
func (s *Sim) Start(ctx context.Context, addrs ...string) (urls map[nmvs.Service]string, stop func() error, err error) {
	if len(addrs) == 0 {
		addrs = []string{"127.0.0.1:0"}
	}
	services := nmvs.Services()
	if len(addrs) != 1 && len(addrs) != len(services) {
		return nil, nil, fmt.Errorf("sim: %d addresses to listen on, wants 1 or %d", len(addrs), len(services))
	}
	listeners, err := s.listen(ctx, addrs)
	if err != nil {
		return nil, nil, err
	}
	scheme := "http://"
	if s.cfg.PKI != nil {
		scheme = "https://"
	}
	urls = map[nmvs.Service]string{}
	for i, svc := range services {
		urls[svc] = scheme + listeners[min(i, len(listeners)-1)].Addr().String() + Path(svc, s.cfg.Version)
	}
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0), // handshakes refused on purpose are not news
	}
	var running sync.WaitGroup
	for _, l := range listeners {
		running.Go(func() { _ = srv.Serve(l) }) // ends with ErrServerClosed
	}
	var once sync.Once
	var closeErr error
	stop = func() error {
		once.Do(func() {
			s.Close()
			closeErr = srv.Close()
			running.Wait()
		})
		return closeErr
	}
	context.AfterFunc(ctx, func() { _ = stop() })
	return urls, stop, nil
}

func (s *Sim) listen(ctx context.Context, addrs []string) (ls []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range ls {
				_ = l.Close()
			}
		}
	}()
	var conf *tls.Config
	if s.cfg.PKI != nil {
		// Certificates are judged by the wall clock plus what the simulator's was
		// moved: a made-up Config.Clock must not make every certificate too young.
		moved := func() time.Time {
			s.mu.Lock()
			defer s.mu.Unlock()
			return time.Now().Add(s.offset)
		}
		if conf, err = s.cfg.PKI.ServerConfig(moved); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	for _, a := range addrs {
		l, err := lc.Listen(ctx, "tcp", a)
		if err != nil {
			return ls, errors.Join(fmt.Errorf("sim: cannot listen on %s", a), err)
		}
		if conf != nil {
			l = tls.NewListener(l, conf)
		}
		ls = append(ls, l)
	}
	return ls, nil
}
