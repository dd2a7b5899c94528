package queuetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/ledger"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func short(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Three servers, three replicas, two writers; the ledger's leader is killed and comes back.
// Each append ends won or lost, the chain is whole, and no record that was won is missing.
func TestTheLedgerHoldsWhenItsLeaderIsKilled(t *testing.T) {
	t.Parallel()
	servers := queuetest.StartCluster(t, 3, queuetest.ServerConfig{})
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL)
	}
	cfg := queue.Config{URL: strings.Join(urls, ","), Replicas: 3, AnswerWait: time.Second}
	var conns []*queue.Conn
	for len(conns) < 2 { // the cluster needs a moment for its first leader
		c, err := queue.Connect(short(t, 15*time.Second), cfg)
		if errors.Is(err, queue.ErrUnavailable) && len(conns) == 0 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		conns = append(conns, c)
	}
	for {
		_, err := conns[0].Setup(short(t, 20*time.Second), []queue.Account{{Name: "a", Sites: []string{"north"}}}, false)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "no suitable peers") { // not all servers have met yet
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	won := make([]map[string]bool, 2)
	lost := make([]int, 2)
	for i, c := range conns {
		won[i] = map[string]bool{}
		wg.Go(func() { won[i], lost[i] = writeUntil(t, c.Ledger("a"), i, stop) })
	}
	time.Sleep(300 * time.Millisecond)
	leader := servers[leaderOf(t, conns[0])]
	leader.Kill()
	if _, _, err := conns[0].Ledger("a").Last(short(t, 30*time.Second)); err != nil { // a new one is there
		t.Error(err)
	}
	time.Sleep(200 * time.Millisecond)
	leader.Start()
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wg.Wait()
	link, n := "", 0
	var records []string
	if _, err := conns[0].Ledger("a").Read(t.Context(), 1, func(e queue.Entry) error {
		records = append(records, string(e.Payload))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if !strings.HasSuffix(r, " after "+link) {
			t.Fatalf("record %d is %q, behind %q", n, r, link)
		}
		link = ledger.Hash([]byte(r))
		if won[0][link] == won[1][link] {
			t.Errorf("record %d was won by both or by none", n)
		}
		n++
	}
	if n != len(won[0])+len(won[1]) || n == 0 || lost[0]+lost[1] == 0 {
		t.Errorf("%d records, won %d and %d, lost %d and %d", n, len(won[0]), len(won[1]), lost[0], lost[1])
	}
	t.Logf("%d records, lost %d and %d", n, lost[0], lost[1])
}

// leaderOf returns the index of the server that leads the ledger.
func leaderOf(t *testing.T, c *queue.Conn) (i int) {
	t.Helper()
	nc, err := nats.Connect(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), queue.StreamLedger)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(s.CachedInfo().Cluster.Leader, "n%d", &i); err != nil {
		t.Fatal(err)
	}
	return i
}

// writeUntil appends as a worker does: behind what it read last, whatever is there.
func writeUntil(t *testing.T, l *queue.Ledger, who int, stop <-chan struct{}) (won map[string]bool, lost int) {
	won = map[string]bool{}
	prev := ledger.Head{}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return won, lost
		default:
		}
		h, err := l.Append(short(t, 30*time.Second), prev, fmt.Appendf(nil, "%d by %d after %s", n, who, prev.Hash))
		switch {
		case err == nil:
			won[h.Hash], prev = true, h
		case errors.Is(err, queue.ErrLost):
			lost++
			e, _, err := l.Last(short(t, 30*time.Second))
			if err != nil {
				t.Error(err)
				return won, lost
			}
			prev = e.Head()
		default:
			t.Error(err)
			return won, lost
		}
	}
}
