package queue_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
)

func TestPublishExplainsThatNoStreamTakesIt(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	_, err := c.PublishScan(within(t, 10*time.Second), "north", "d", "", nil)
	if !errors.Is(err, queue.ErrNoStream) || !strings.Contains(err.Error(), "decom.scan.north.d is captured by no stream of this server; create them with: decom setup") {
		t.Fatalf("got %v", err)
	}
}

func TestFetchGoesOnAfterAServerThatWasKilled(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true})
	c := setUp(t, queue.Config{URL: srv.URL}, "a")
	got := make(chan error, 1)
	go func() {
		_, err := c.Scans("a").Fetch(within(t, 15*time.Second), 10, 0, 0)
		got <- err
	}()
	time.Sleep(200 * time.Millisecond) // its request stands
	srv.Kill()
	srv.Start()
	if _, err := c.PublishScan(within(t, 10*time.Second), "a", "d", "", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestFetchSaysNotSetUpWhenItsConsumerIsDeleted(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	got := make(chan error, 1)
	go func() {
		_, err := c.Scans("a").Fetch(within(t, 15*time.Second), 10, 0, 0)
		got <- err
	}()
	time.Sleep(200 * time.Millisecond)
	if err := admin(t, c).DeleteConsumer(t.Context(), queue.StreamScans, "decom-a"); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, queue.ErrNotSetUp) {
		t.Fatalf("got %v", err)
	}
}

func TestAnAckThatIsLostBringsTheScanAgain(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	direct := setUp(t, queue.Config{URL: srv.URL, AckWait: time.Second}, "a")
	p := proxied(t, srv.URL)
	c := connect(t, queue.Config{URL: "nats://" + p.Listen, AnswerWait: 300 * time.Millisecond})
	put(t, direct, "a", 3)
	ds, err := c.Scans("a").Fetch(within(t, 5*time.Second), 3, 0, 0)
	if err != nil || len(ds) != 3 {
		t.Fatal(ds, err)
	}
	heal := swallow(t, p, "upstream")
	if err := ds[0].Ack(t.Context()); err != nil { // not confirmed, so not noticed
		t.Fatal(err)
	}
	if err := queue.AckAll(t.Context(), ds[1:]); err == nil { // confirmed, so noticed
		t.Fatal("the lost acks were not noticed")
	}
	heal()
	if got := done(t, direct, "a"); len(got) != 0 {
		t.Fatalf("before AckWait came %v", got)
	}
	time.Sleep(time.Second)
	if got := done(t, direct, "a"); len(got) != 3 {
		t.Fatalf("again came %v", got)
	}
}

// An ack whose answer is lost took effect: the error must not bring the scan again.
func TestAnAckWhoseAnswerIsLostCounts(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	direct := setUp(t, queue.Config{URL: srv.URL, AckWait: 500 * time.Millisecond}, "a")
	p := proxied(t, srv.URL)
	c := connect(t, queue.Config{URL: "nats://" + p.Listen, AnswerWait: 200 * time.Millisecond})
	put(t, direct, "a", 2)
	ds, err := c.Scans("a").Fetch(within(t, 5*time.Second), 2, 0, 0)
	if err != nil || len(ds) != 2 {
		t.Fatal(ds, err)
	}
	heal := swallow(t, p, "downstream")
	if err := queue.AckAll(t.Context(), ds); err == nil {
		t.Fatal("the lost answer was not noticed")
	}
	heal()
	time.Sleep(500 * time.Millisecond)
	if got := done(t, direct, "a"); len(got) != 0 {
		t.Fatalf("again came %v", got)
	}
}

func TestAFetchThatWasGivenUpTakesNothing(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	for i := range 20 {
		if ds, err := c.Scans("a").Fetch(within(t, 5*time.Millisecond), 10, 0, 0); err == nil {
			t.Fatalf("got %d", len(ds))
		}
		put(t, c, "a", 1)
		ds, err := c.Scans("a").Fetch(within(t, 5*time.Second), 10, 0, 0)
		if err != nil || len(ds) != 1 || ds[0].Delivered() != 1 {
			t.Fatalf("round %d: %d scans, %v", i, len(ds), err)
		}
		if err := queue.AckAll(t.Context(), ds); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScanUnderASubjectThatIsTooDeepIsDelivered(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	if _, err := admin(t, c).Publish(t.Context(), "decom.scan.a.d.e", []byte("x")); err != nil {
		t.Fatal(err)
	}
	ds, err := c.Scans("a").Fetch(within(t, 5*time.Second), 1, 0, 0)
	if err != nil || ds[0].Meta().Site != "a" || ds[0].Meta().Device != "d.e" {
		t.Fatalf("%v %v", ds, err)
	}
}

// TestTheSourceOfAScanIsTextThatAnOutcomeCanGoTo: the server takes any bytes in a subject, as long
// as its control line allows; metrics and the ledger take UTF-8, and the outcome's subject is longer.
func TestTheSourceOfAScanIsTextThatAnOutcomeCanGoTo(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	for device, want := range map[string]string{
		"r\xff\xfe":               "r\uFFFD",
		"é":                       "é",
		strings.Repeat("d", 4040): strings.Repeat("d", 256),
	} {
		if err := admin(t, c).Conn().Publish("decom.scan.a."+device, []byte("x")); err != nil {
			t.Fatal(err)
		}
		ds, err := c.Scans("a").Fetch(within(t, 5*time.Second), 1, 0, 0)
		if err != nil || ds[0].Meta().Device != want {
			t.Fatalf("%.20q: %v %v", device, ds, err)
		}
		if _, err := c.PublishOutcome(within(t, 5*time.Second), "a", ds[0].Meta().Device, "e"+want[:1], "a/1/0", []byte("{}")); err != nil {
			t.Fatalf("%.20q: its outcome: %v", device, err)
		}
	}
}

// TestScansThatNameNoDeviceAreCounted: the stream takes them, no consumer's filter does.
func TestScansThatNameNoDeviceAreCounted(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	for _, subject := range []string{"decom.scan.a", "decom.scan.b", "decom.scan.b.d", "decom.scan.a.d"} {
		if _, err := admin(t, c).Publish(t.Context(), subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Unrouted(t.Context(), []queue.Account{{Name: "a", Sites: []string{"a"}}})
	if want := map[string]uint64{"b": 1, queue.NoDevice("a"): 1, queue.NoDevice("b"): 1}; err != nil || !maps.Equal(got, want) {
		t.Fatalf("unrouted %v, %v; want %v", got, err, want)
	}
}

func TestPublishScansGoesOnAfterAServerThatWasKilled(t *testing.T) {
	t.Parallel()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true})
	c := setUp(t, queue.Config{URL: srv.URL, AnswerWait: time.Second}, "a")
	scans := make([]queue.Scan, 2000)
	for i := range scans {
		scans[i] = queue.Scan{Site: "a", Device: "d", ID: fmt.Sprint(i), Body: fmt.Append(nil, i)}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(100 * time.Millisecond)
		srv.Kill()
		srv.Start()
	})
	acks, err := c.PublishScans(within(t, 20*time.Second), scans)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	for len(stored) < len(scans) {
		ds, err := c.Scans("a").Fetch(within(t, 5*time.Second), 1000, 0, 0)
		if err != nil {
			t.Fatalf("%d of %d are stored: %v", len(stored), len(scans), err)
		}
		for _, d := range ds {
			stored[d.Meta().MsgID] = true
		}
	}
	for i, a := range acks {
		if a.Seq == 0 || !stored[fmt.Sprint(i)] {
			t.Fatalf("scan %d: %+v", i, a)
		}
	}
}
