package queue

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"decom/worker/ledger"
)

// stopped is a context that ends when somebody begins to wait for it, after meanwhile has run.
type stopped struct {
	context.Context
	once      sync.Once
	meanwhile func()
	done      chan struct{}
}

func (s *stopped) Done() <-chan struct{} {
	s.once.Do(func() { s.meanwhile(); close(s.done) })
	return s.done
}

func (s *stopped) Err() error {
	select {
	case <-s.done:
		return context.Canceled
	default:
		return nil
	}
}

// A process that is told to stop while it waits for a message may get one in that very moment. It
// must get to see it, so that it can give it back: else the message is nobody's for a whole
// AckWait, and an account whose outbox it was has no outcomes until then.
func TestWhatComesAsAReaderStopsIsNotKept(t *testing.T) {
	t.Parallel()
	c := oneAccount(t)
	// out waits until a message of the consumer is out: on its way to the reader.
	out := func(stream, consumer string) {
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if info, err := c.consumerInfo(t.Context(), stream, consumer); err == nil && info.NumAckPending == 1 {
				return
			}
		}
		t.Error("nothing was delivered")
	}
	stop := func(meanwhile func()) context.Context {
		return &stopped{Context: t.Context(), meanwhile: meanwhile, done: make(chan struct{})}
	}

	ds, err := c.Scans("a").Fetch(stop(func() {
		if _, err := c.PublishScan(t.Context(), "north", "d", "e1", []byte("x")); err != nil {
			t.Error(err)
		}
		out(StreamScans, scansConsumer("a"))
	}), 5, 0, 0)
	if err != nil || len(ds) != 1 {
		t.Errorf("scans: %d, %v", len(ds), err)
	}

	rec, err := c.Outbox("a").Next(stop(func() {
		if _, err := c.Ledger("a").Append(t.Context(), ledger.Head{}, []byte("one")); err != nil {
			t.Error(err)
		}
		out(StreamLedger, outboxConsumer("a"))
	}))
	if err != nil || string(rec.Entry().Payload) != "one" {
		t.Errorf("outbox: %+v, %v", rec, err)
	}
}

// A request of a reader that had a message just now ends before the reader, told to stop, would
// give it up: what a server delivers to an inbox that has just gone is nobody's until AckWait has
// passed. An idle reader's stands long: there are many of them.
func TestTheRequestOfABusyReaderEndsSoon(t *testing.T) {
	t.Parallel()
	c := oneAccount(t)
	asked, err := c.nc.SubscribeSync("$JS.API.CONSUMER.MSG.NEXT." + StreamScans + "." + scansConsumer("a"))
	if err != nil {
		t.Fatal(err)
	}
	stands := func() time.Duration {
		t.Helper()
		msg, err := asked.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var req pullRequest
		if err := json.Unmarshal(msg.Data, &req); err != nil {
			t.Fatal(err)
		}
		return req.Expires
	}
	s := c.Scans("a")
	one := func() {
		t.Helper()
		if _, err := c.PublishScan(t.Context(), "north", "d", "", []byte("x")); err != nil {
			t.Fatal(err)
		}
		ds, err := s.Fetch(t.Context(), 1, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := ds[0].Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	one()
	if d := stands(); d != pullExpires {
		t.Errorf("the first request of an idle reader stands %v, want %v", d, pullExpires)
	}
	kept := false
	for range 5 { // on a busy machine the end may come late, now and then
		one()
		if d := stands(); d > pullLinger {
			t.Errorf("a request stands %v where messages come, longer than the %v that a reader which stops waits for it", d, pullLinger)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := s.Fetch(ctx, 1, 0, 0)
			ended <- err
		}()
		if d := stands(); d > pullLinger {
			t.Errorf("the next one stands %v", d)
		}
		inbox := s.pull.inbox
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if kept = s.pull.sub != nil && s.pull.inbox == inbox; kept {
			break
		}
	}
	if !kept {
		t.Error("a reader that stops gives its request up each time")
	}
	s.pull.askAhead()
	if d := stands(); d > pullLinger {
		t.Errorf("a request made ahead stands %v", d)
	}
}

// A reader that has stopped asks for nothing more.
func TestAReaderThatHasStoppedAsksForNothing(t *testing.T) {
	t.Parallel()
	c := oneAccount(t)
	if _, err := c.PublishScan(t.Context(), "north", "d", "e1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if ds, err := c.Scans("a").Fetch(ended, 5, 0, 0); err == nil {
		t.Errorf("%d scans", len(ds))
	}
	if info, err := c.consumerInfo(t.Context(), StreamScans, scansConsumer("a")); err != nil || info.NumAckPending != 0 {
		t.Errorf("out: %+v, %v", info, err)
	}
}

// nats.go keeps a drained subscription, and a goroutine that looks at it ten times a second, until
// what lies in it was read. Of 2,080 accounts on a busy machine 43,000 such were left after minutes.
func TestARequestThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c := oneAccount(t)
	if _, err := c.PublishScan(t.Context(), "north", "d", "e1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	before := c.nc.NumSubscriptions()
	p := c.Scans("a").pull
	if _, err := p.request(oneMessage); err != nil {
		t.Fatal(err)
	}
	waiting := func(want int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			n, _, err := p.sub.Pending()
			if err == nil && n >= want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d messages wait, %v; want %d", n, err, want)
			}
		}
	}
	waiting(1) // first, or the status would stand before the scan and be read with it
	if err := c.nc.Publish(p.inbox+".1", []byte("a status behind the scan")); err != nil {
		t.Fatal(err)
	}
	waiting(2)
	if got := p.cancel(1); len(got) != 1 {
		t.Errorf("%d messages, want the one that came", len(got))
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && c.nc.NumSubscriptions() > before; time.Sleep(5 * time.Millisecond) {
	}
	if n := c.nc.NumSubscriptions(); n > before {
		t.Errorf("%d subscriptions, %d before", n, before)
	}
}

// oneAccount is a server of the test's own, with the streams and consumers of account a.
func oneAccount(t *testing.T) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Setup(t.Context(), []Account{{Name: "a", Sites: []string{"north"}}}, false); err != nil {
		t.Fatal(err)
	}
	return c
}
