package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
)

// connect reaches a server, or an embedded one in a directory of the test.
func connect(t *testing.T, cfg queue.Config) *queue.Conn {
	t.Helper()
	if cfg.URL == "" && cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	c, err := queue.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// setUp connects and creates the streams for these accounts, one site each of the
// account's own name.
func setUp(t *testing.T, cfg queue.Config, accounts ...string) *queue.Conn {
	t.Helper()
	c := connect(t, cfg)
	if _, err := c.Setup(t.Context(), own(accounts...), false); err != nil {
		t.Fatal(err)
	}
	return c
}

func own(names ...string) []queue.Account {
	var as []queue.Account
	for _, n := range names {
		as = append(as, queue.Account{Name: n, Sites: []string{n}})
	}
	return as
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestConnectSaysUnavailableWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "nats://" + l.Addr().String()
	l.Close()
	_, err = queue.Connect(t.Context(), queue.Config{URL: url})
	if !errors.Is(err, queue.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestConnectSaysDeniedWhenCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{Extra: `authorization { user: a, password: b }`})
	_, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL, User: "a", Password: "x"})
	if !errors.Is(err, queue.ErrDenied) {
		t.Fatalf("wrong password: got %v", err)
	}
	c, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL, User: "a", Password: "b"})
	if err != nil {
		t.Fatalf("right password: %v", err)
	}
	c.Close()
}

func TestConnectRefusesAServerWithoutJetStream(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{Extra: `accounts { A: { users: [{user: a, password: b}] } }`})
	_, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL, User: "a", Password: "b"})
	if !errors.Is(err, queue.ErrUnavailable) || !strings.Contains(err.Error(), "JetStream is off") {
		t.Fatalf("got %v", err)
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	t.Parallel()
	err := queue.Config{Creds: "/does/not/exist", NKey: "/nor/this", Password: "p", Replicas: 7, Listen: "0.0.0.0:1"}.Validate()
	for _, want := range []string{"neither a url nor a dir", "one of creds", "password without", "replicas", "loopback", "nats.creds", "nats.nkey"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := connect(t, queue.Config{Dir: dir})
	if _, err := queue.Connect(t.Context(), queue.Config{Dir: dir}); !errors.Is(err, queue.ErrLocked) {
		t.Fatalf("second server on the directory: %v", err)
	}
	c.Close()
	connect(t, queue.Config{Dir: dir})
}

func TestEmbeddedServerSaysWhyItCannotUseItsDirectory(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := queue.Connect(t.Context(), queue.Config{Dir: file})
	if err == nil || !strings.Contains(err.Error(), "the directory of the embedded server cannot be") {
		t.Fatalf("a file as directory: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/jetstream", nil, 0o600); err != nil { // where the server wants its store
		t.Fatal(err)
	}
	_, err = queue.Connect(t.Context(), queue.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "does not start on "+dir) {
		t.Fatalf("an unusable store: %v", err)
	}
	if err := os.Remove(dir + "/jetstream"); err != nil {
		t.Fatal(err)
	}
	connect(t, queue.Config{Dir: dir}) // the failed start gave the lock back
}

func TestEmbeddedServerListensOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	if c := connect(t, queue.Config{}); c.URL() != "" {
		t.Fatalf("it listens on %s", c.URL())
	}
	c := connect(t, queue.Config{Listen: "127.0.0.1:0"})
	other := connect(t, queue.Config{URL: c.URL()})
	if _, err := other.Setup(t.Context(), own("a"), false); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsSurviveTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := setUp(t, queue.Config{Dir: dir}, "a")
	want := appendTo(t, c.Ledger("a"), head{}, "one")
	c.Close()
	c = connect(t, queue.Config{Dir: dir})
	e, ok, err := c.Ledger("a").Last(t.Context())
	if err != nil || !ok || e.Head() != want || string(e.Payload) != "one" {
		t.Fatalf("got %+v %v %v", e, ok, err)
	}
}

func TestStateIsToldWhenTheServerGoesAndComes(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	states := make(chan queue.State, 16)
	connect(t, queue.Config{URL: srv.URL, OnState: func(s queue.State) { states <- s }})
	srv.Kill()
	if s := <-states; s.Up {
		t.Fatalf("after the kill: %+v", s)
	}
	srv.Start()
	for s := range states {
		if s.Up {
			return
		}
	}
}

// A delivery of thousands floods whoever watches for people at scanners. That is no fault of
// the connection, and nobody is to be told at night.
func TestAFloodPastAWatcherIsNoTrouble(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	told := make(chan error, 1)
	c := setUp(t, queue.Config{URL: srv.URL, OnState: func(s queue.State) {
		select {
		case told <- s.Err:
		default:
		}
	}}, "a")
	seen := make(chan struct{}, 1)
	go func() {
		_ = c.Scans("a").Watch(t.Context(), func(queue.Delivery) {
			select {
			case seen <- struct{}{}:
			default:
			}
		})
	}()
	publisher := connect(t, queue.Config{URL: srv.URL})
	publish := func(device string, n int) {
		scans := make([]queue.Scan, n)
		for i := range scans {
			scans[i] = queue.Scan{Site: "a", Device: device, ID: fmt.Sprint(device, time.Now().UnixNano(), i), Body: []byte("x")}
		}
		if _, err := publisher.PublishScans(t.Context(), scans); err != nil {
			t.Fatal(err)
		}
	}
	for i, watching := 0, false; !watching; i++ {
		publish(fmt.Sprint("person", i), 1)
		select {
		case <-seen:
			watching = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	for i := range 3 {
		publish(fmt.Sprint("file", i), 3000)
	}
	select {
	case err := <-told:
		t.Errorf("told: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
}
