package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// web is the process's HTTP side: health, metrics and status.
type web struct {
	srv  *http.Server
	ln   net.Listener
	addr string
}

// listen opens http.listen; empty means none.
func (p *process) listen() (*web, error) {
	w := &web{}
	if p.cfg.HTTP.Listen == "" {
		return w, nil
	}
	ln, err := net.Listen("tcp", p.cfg.HTTP.Listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w (is another decom running? give this one its own port)", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p.status()) // the reader went away
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.met.registry, promhttp.HandlerOpts{}))
	w.ln, w.addr = ln, ln.Addr().String()
	w.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return w, nil
}

// listenDebug opens http.debug, which the configuration allows on loopback only: a profile
// tells what memory holds.
func (p *process) listenDebug() (*web, error) {
	w := &web{}
	if p.cfg.HTTP.Debug == "" {
		return w, nil
	}
	ln, err := net.Listen("tcp", p.cfg.HTTP.Debug)
	if err != nil {
		return nil, fmt.Errorf("http.debug: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	w.ln, w.addr = ln, ln.Addr().String()
	w.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return w, nil
}

// ready is never red because NMVS is down: the process then takes nothing in, and
// another one could do no better. While it drains it is.
func (p *process) ready(w http.ResponseWriter, r *http.Request) {
	if p.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	var why []string
	if !p.conn.Up() {
		why = append(why, "NATS is down")
	}
	if err := p.store.Ping(ctx); err != nil {
		why = append(why, "Redis: "+err.Error())
	}
	for _, u := range p.units {
		if wait := u.ledgerFull(); wait > 0 && p.conn.Up() {
			why = append(why, fmt.Sprintf("the ledger of %s has taken no record for %s: is NATS's disk full?", u.cfg.Name, wait.Round(time.Second)))
		}
	}
	if len(why) > 0 {
		http.Error(w, strings.Join(why, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// serve answers until ctx ends.
func (w *web) serve(ctx context.Context) {
	if w.srv == nil {
		<-ctx.Done()
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = w.srv.Close() })
	defer stop()
	_ = w.srv.Serve(w.ln) // always ends with an error, ours being the Close above
}
