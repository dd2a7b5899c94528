package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/ledger"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

type head = ledger.Head

func appendTo(t *testing.T, l *queue.Ledger, prev head, text string) head {
	t.Helper()
	h, err := l.Append(t.Context(), prev, []byte(text))
	if err != nil {
		t.Fatalf("append %s: %v", text, err)
	}
	return h
}

// records reads the whole ledger.
func records(t *testing.T, l *queue.Ledger) []string {
	t.Helper()
	var got []string
	if _, err := l.Read(t.Context(), 1, func(e queue.Entry) error { got = append(got, string(e.Payload)); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

// proxied puts a proxy with faults before a server.
func proxied(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	nop := zerolog.Nop()
	srv := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), nop)
	p := toxiproxy.NewProxy(srv, "nats", "127.0.0.1:0", upstream[len("nats://"):])
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// swallow lets nothing through in one direction ("upstream" or "downstream") until
// the returned func is called, which also drops the connections.
func swallow(t *testing.T, p *toxiproxy.Proxy, direction string) (heal func()) {
	t.Helper()
	body := fmt.Sprintf(`{"name":"mute","type":"timeout","stream":%q,"attributes":{"timeout":0}}`, direction)
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	return func() { // which closes the connections, too
		if err := p.Toxics.RemoveToxic(context.Background(), "mute"); err != nil {
			t.Error(err)
		}
	}
}

// An append whose answer is lost: the record is stored in one case and not in the
// other; Append must find out, and the ledger must have it once.
func TestAppendFindsOutWhatBecameOfALostAnswer(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]string{"failed without effect": "upstream", "took effect": "downstream"} {
		t.Run(name, func(t *testing.T) {
			srv := queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true})
			direct := setUp(t, queue.Config{URL: srv.URL}, "a")
			p := proxied(t, srv.URL)
			c := connect(t, queue.Config{URL: "nats://" + p.Listen, AnswerWait: 300 * time.Millisecond})
			l := c.Ledger("a")
			prev := appendTo(t, l, head{}, "one")

			heal := swallow(t, p, direction)
			stored := make(chan bool, 1)
			go func() {
				time.Sleep(250 * time.Millisecond)
				stored <- len(records(t, direct.Ledger("a"))) == 2
				heal()
			}()
			got, err := l.Append(within(t, 10*time.Second), prev, []byte("two"))
			if err != nil {
				t.Fatal(err)
			}
			if was := <-stored; was != (direction == "downstream") {
				t.Fatalf("the fault did not do what the test is about: stored %v", was)
			}
			if got.Hash != ledger.Hash([]byte("two")) {
				t.Fatalf("head %v", got)
			}
			if r := records(t, direct.Ledger("a")); len(r) != 2 || r[1] != "two" {
				t.Fatalf("ledger %v", r)
			}
			appendTo(t, l, got, "three") // and the head is right
		})
	}
}

func TestAppendSaysUnknownWhenItsContextEndsInDoubt(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	direct := setUp(t, queue.Config{URL: srv.URL}, "a")
	p := proxied(t, srv.URL)
	c := connect(t, queue.Config{URL: "nats://" + p.Listen, AnswerWait: 200 * time.Millisecond})
	defer swallow(t, p, "downstream")()
	_, err := c.Ledger("a").Append(within(t, time.Second), head{}, []byte("one"))
	if !errors.Is(err, queue.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if r := records(t, direct.Ledger("a")); len(r) != 1 {
		t.Fatalf("ledger %v", r)
	}
}

func TestAppendIsNotInDoubtWhenNothingWasSent(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	down := make(chan struct{}, 8)
	c := setUp(t, queue.Config{URL: srv.URL, OnState: func(s queue.State) {
		if !s.Up {
			down <- struct{}{}
		}
	}}, "a")
	srv.Kill()
	<-down
	_, err := c.Ledger("a").Append(within(t, 300*time.Millisecond), head{}, []byte("one"))
	if err == nil || errors.Is(err, queue.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	srv.Start()
	appendTo(t, c.Ledger("a"), head{}, "one")
}

// A killed server (power cut) during appends: each append ends known, and the chain is whole.
func TestAppendsSurviveAServerThatIsKilled(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true})
	c := setUp(t, queue.Config{URL: srv.URL, AnswerWait: 500 * time.Millisecond}, "a")
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for range 3 {
			time.Sleep(300 * time.Millisecond)
			srv.Kill()
			time.Sleep(100 * time.Millisecond)
			srv.Start()
		}
	}()
	l, prev, n := c.Ledger("a"), head{}, 0
	for done := false; !done; n++ {
		select {
		case <-stop:
			done = true
		default:
		}
		h, err := l.Append(within(t, 20*time.Second), prev, fmt.Appendf(nil, "%d after %s", n, prev.Hash))
		if err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
		prev = h
	}
	<-stop
	got := records(t, l)
	if len(got) != n {
		t.Fatalf("%d records, %d appends won", len(got), n)
	}
	link := ""
	for i, r := range got {
		if want := fmt.Sprintf("%d after %s", i, link); r != want {
			t.Fatalf("record %d is %q, want %q", i, r, want)
		}
		link = ledger.Hash([]byte(r))
	}
}

func TestReadSurvivesAServerThatIsKilled(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true})
	c := setUp(t, queue.Config{URL: srv.URL, AnswerWait: time.Second}, "a")
	prev := head{}
	for i := range 700 {
		prev = appendTo(t, c.Ledger("a"), prev, fmt.Sprint(i))
	}
	n := 0
	last, err := c.Ledger("a").Read(within(t, 20*time.Second), 1, func(e queue.Entry) error {
		if string(e.Payload) != fmt.Sprint(n) {
			t.Fatalf("record %d is %s", n, e.Payload)
		}
		if n++; n == 100 {
			srv.Kill()
			srv.Start()
		}
		return nil
	})
	if err != nil || n != 700 || last != prev.Seq {
		t.Fatalf("%d records to %d: %v", n, last, err)
	}
}

func TestLedgerRefusesARecordThatIsTooBig(t *testing.T) {
	t.Parallel()
	c := setUp(t, queue.Config{}, "a")
	_, err := c.Ledger("a").Append(t.Context(), head{}, make([]byte, 2<<20))
	if err == nil || errors.Is(err, queue.ErrUnknown) || errors.Is(err, queue.ErrLost) {
		t.Fatalf("got %v", err)
	}
}
