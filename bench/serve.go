package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/queue"
)

// The parts that Serve plays in a process of its own.
const (
	roleNATS  = "nats"  // the NATS server that decom embeds, with a port
	roleSim   = "sim"   // the simulator of NMVS with as many accounts as asked for
	roleLean  = "lean"  // the bare pipeline
	rolePlain = "plain" // what a user would write
	roleCalls = "calls" // single calls and nothing else
)

// natsSpec, simSpec: what a child is told; natsReady, simReady: what it says when it is ready.
type natsSpec struct {
	Dir  string `json:"dir"`
	Lazy bool   `json:"lazy"`
}

type natsReady struct {
	URL string `json:"url"`
}

type simSpec struct {
	Dir      string       `json:"dir"`
	Accounts int          `json:"accounts"`
	Seed     uint64       `json:"seed"`
	Settings sim.Settings `json:"settings"`
}

type simReady struct {
	URLs    map[string]string `json:"urls"`
	Control string            `json:"control"`
}

// password fits NMVS's rules; it protects nothing.
const password = "Bench-Pass-1"

func clientLogin(i int) string { return fmt.Sprintf("FR-BENCH-%04d", i+1) }
func userLogin(i int) string   { return fmt.Sprintf("bench%04d", i+1) }

// Serve plays one part of a measurement until in ends: it reads what to do from in,
// one JSON value, and says on out, in JSON lines, when it is ready. decom's hidden
// `bench child` calls it; nobody else should.
func Serve(ctx context.Context, role string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dec := json.NewDecoder(in)
	var spec json.RawMessage
	if err := dec.Decode(&spec); err != nil {
		return fmt.Errorf("what to do: %w", err)
	}
	go func() { // ends with in, which the harness or its death closes
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	say := func(v any) error { return json.NewEncoder(out).Encode(v) }
	switch role {
	case roleNATS:
		return serveNATS(ctx, spec, say)
	case roleSim:
		return serveSim(ctx, spec, say)
	case roleLean, rolePlain, roleCalls:
		return serveBare(ctx, role, spec, say)
	}
	return fmt.Errorf("no such part: %q", role)
}

func serveNATS(ctx context.Context, raw json.RawMessage, say func(any) error) error {
	var spec natsSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	conn, err := queue.Connect(ctx, queue.Config{Dir: spec.Dir, Listen: "127.0.0.1:0", Name: "bench", Lazy: spec.Lazy})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := say(natsReady{URL: conn.URL()}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func serveSim(ctx context.Context, raw json.RawMessage, say func(any) error) error {
	var spec simSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	cfg := sim.Config{Seed: spec.Seed, Settings: spec.Settings}
	for i := range spec.Accounts {
		cfg.Accounts = append(cfg.Accounts, sim.Account{ClientLoginID: clientLogin(i), UserID: userLogin(i), Password: password})
	}
	debug.SetGCPercent(400) // NMVS's own cost is not what is measured
	var err error
	if cfg.PKI, err = sim.NewPKI(spec.Dir, userLogin(0)); err != nil {
		return err
	}
	s, err := sim.New(cfg)
	if err != nil {
		return err
	}
	urls, stop, err := s.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }() // the process ends anyway
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: s.ControlHandler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends by Close
	defer srv.Close()
	ready := simReady{URLs: map[string]string{}, Control: "http://" + l.Addr().String()}
	for svc, url := range urls {
		ready.URLs[svc.String()] = url
	}
	if err := errors.Join(os.WriteFile(filepath.Join(spec.Dir, "password"), []byte(password+"\n"), 0o600), say(ready)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// services in the order of configuration files.
func services() []string {
	var names []string
	for _, s := range nmvs.Services() {
		names = append(names, s.String())
	}
	return names
}
