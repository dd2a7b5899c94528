package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// leader plays the leader of DECOM_LEDGER by a script, to reach the corners that a
// real one reaches only in a cluster, or when a late copy arrives between two
// requests. Each word answers one request of its kind; when the script is used up, the
// leader is silent.
type leader struct {
	t    *testing.T
	hash string // of the record being appended

	mu        sync.Mutex
	publishes []string // guarded by mu
	reads     []string // guarded by mu
	published int      // guarded by mu
}

const (
	ours  = "ours"
	other = "other"
	none  = "none"
	mute  = ""
)

// playLeader starts a server without JetStream in which l answers.
func playLeader(t *testing.T, l *leader) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for subject, answer := range map[string]func(*nats.Msg) string{
		"$JS.API.INFO":                        func(*nats.Msg) string { return `{"type":"io.nats.jetstream.api.v1.account_info_response"}` },
		"$JS.API.STREAM.MSG.GET.DECOM_LEDGER": l.read,
		"decom.ledger.a":                      l.publish,
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
			if s := answer(m); s != mute {
				_ = m.Respond([]byte(s))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return srv.ClientURL()
}

func pop(words *[]string) string {
	if len(*words) == 0 {
		return mute
	}
	w := (*words)[0]
	*words = (*words)[1:]
	return w
}

func (l *leader) publish(m *nats.Msg) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published++
	if m.Header.Get("Nats-Msg-Id") != l.hash || m.Header.Get("Nats-Expected-Last-Subject-Sequence") != "7" || ledger.Hash(m.Data) != l.hash {
		l.t.Errorf("publish %d is not the same: %v", l.published, m.Header)
	}
	switch w := pop(&l.publishes); w {
	case ours:
		return `{"stream":"DECOM_LEDGER","seq":9}`
	case "duplicate":
		return `{"stream":"DECOM_LEDGER","seq":9,"duplicate":true}`
	case mute:
		return mute
	default:
		code, text, _ := strings.Cut(w, " ")
		return fmt.Sprintf(`{"error":{"code":400,"err_code":%s,"description":%q},"stream":"DECOM_LEDGER","seq":0}`, code, text)
	}
}

func (l *leader) read(m *nats.Msg) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var req struct {
		Seq  uint64 `json:"seq"`
		Next string `json:"next_by_subj"`
	}
	if err := json.Unmarshal(m.Data, &req); err != nil || req.Seq != 8 || req.Next != "decom.ledger.a" {
		l.t.Errorf("it reads %s", m.Data)
	}
	switch w := pop(&l.reads); w {
	case ours:
		return `{"message":{"subject":"decom.ledger.a","seq":9,"data":"bWluZQ==","time":"2026-11-22T10:00:00Z"}}` // "mine"
	case other:
		return `{"message":{"subject":"decom.ledger.a","seq":8,"data":"b3RoZXI=","time":"2026-11-22T10:00:00Z"}}`
	case none:
		return `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`
	default:
		return mute
	}
}

// protocol.md section 2.2, answer by answer.
func TestAppendDecidesByWhatTheLeaderSays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		publishes []string
		reads     []string
		want      error // nil: won
		published int
	}{
		{"stored", []string{ours}, nil, nil, 1},
		{"wrong sequence, one replica", []string{"10071 wrong last sequence: 9"}, nil, queue.ErrLost, 1},
		{"wrong sequence, three replicas", []string{"10164 wrong last sequence"}, nil, queue.ErrLost, 1},
		{"sequence not ready, then stored", []string{"10163 not ready", ours}, nil, nil, 2},
		{"id in process, then lost", []string{"10158 in process", "10071 wrong"}, nil, queue.ErrLost, 2},
		{"no answer, ours is there", []string{mute}, []string{ours}, nil, 1},
		{"no answer, another is there", []string{mute}, []string{other}, queue.ErrLost, 1},
		{"no answer twice, reads silent at first", []string{mute}, []string{mute, mute, ours}, nil, 1},
		{"no answer, none there, the repeat is stored", []string{mute, ours}, []string{none}, nil, 2},
		{"the repeat is refused by our own late copy", []string{mute, "10071 wrong"}, []string{none, ours}, nil, 2},
		{"the repeat is refused by another", []string{mute, "10164 wrong"}, []string{none, other}, queue.ErrLost, 2},
		{"the repeat is a duplicate", []string{mute, "duplicate"}, []string{none, ours}, nil, 2},
		{"the repeat is not ready, then ours is seen", []string{mute, "10163 not ready"}, []string{none, ours}, nil, 2},
		{"a server that stored nothing gets it once more, later", []string{mute, mute, mute, mute, ours}, []string{none, none, none, none, none, none, none, none}, nil, 5},
		{"three repeats at most, then it only reads", []string{mute, mute, mute, mute, ours}, []string{none, none, none, none, none, none, ours}, nil, 4},
		{"in doubt for ever", []string{mute, mute, mute, mute}, []string{none, none, none, none, none}, queue.ErrUnknown, 4},
		{"the store failed, and nothing is there", []string{"10077 no space left"}, []string{none}, errAny, 1},
		{"the store failed, but the record is there", []string{"10077 no space left"}, []string{ours}, nil, 1},
		{"refused for good", []string{"10054 message size exceeds maximum"}, nil, errAny, 1},
		{"refused for good after a doubt, ours is there", []string{mute, "10054 too big"}, []string{none, ours}, nil, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := &leader{t: t, hash: ledger.Hash([]byte("mine")), publishes: test.publishes, reads: test.reads}
			c := connect(t, queue.Config{URL: playLeader(t, l), AnswerWait: 150 * time.Millisecond})
			limit := 10 * time.Second
			if test.want == queue.ErrUnknown {
				limit = 1500 * time.Millisecond
			}
			got, err := c.Ledger("a").Append(within(t, limit), head{Seq: 7, Hash: "before"}, []byte("mine"))
			switch {
			case test.want == nil && (err != nil || got != head{Seq: 9, Hash: l.hash}):
				t.Errorf("got %v, %v", got, err)
			case test.want == errAny && (err == nil || errors.Is(err, queue.ErrLost) || errors.Is(err, queue.ErrUnknown)):
				t.Errorf("got %v, %v", got, err)
			case test.want != nil && test.want != errAny && !errors.Is(err, test.want):
				t.Errorf("got %v, %v", got, err)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.published != test.published {
				t.Errorf("published %d times, want %d", l.published, test.published)
			}
			if len(l.reads) > 0 {
				t.Errorf("these reads were not made: %v", l.reads)
			}
		})
	}
}

// errAny stands for an error that says: not there, and never will be.
var errAny = errors.New("any")

func TestASecondAppendInFlightIsRefused(t *testing.T) {
	t.Parallel()
	l := &leader{t: t, hash: ledger.Hash([]byte("mine"))}
	c := connect(t, queue.Config{URL: playLeader(t, l), AnswerWait: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := c.Ledger("a").Append(ctx, head{Seq: 7}, []byte("mine")); first <- err }()
	for n := 0; n == 0; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		n = l.published
		l.mu.Unlock()
	}
	if _, err := c.Ledger("a").Append(t.Context(), head{Seq: 7}, []byte("mine")); !errors.Is(err, queue.ErrBusy) {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, queue.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("the first one: %v", err)
	}
}
