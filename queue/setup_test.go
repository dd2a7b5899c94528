package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// admin is a plain NATS client beside the queue, on the same embedded server.
func admin(t *testing.T, c *queue.Conn) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func lazy() queue.Config { return queue.Config{Listen: "127.0.0.1:0", Lazy: true} }

func setup(t *testing.T, c *queue.Conn, accounts ...queue.Account) []string {
	t.Helper()
	changes, err := c.Setup(t.Context(), accounts, false)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, ch := range changes {
		s = append(s, ch.String())
	}
	return s
}

func TestSetupMakesTheStreamsOfTheProtocol(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	js := admin(t, c)
	accounts := []queue.Account{{Name: "a", Sites: []string{"north", "south"}}}
	dry, err := c.Setup(t.Context(), accounts, true)
	if err != nil || len(dry) != 5 {
		t.Fatalf("dry run: %v %v", dry, err)
	}
	if _, err := js.Stream(t.Context(), queue.StreamLedger); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("the dry run made a stream: %v", err)
	}
	want := []string{"DECOM_SCANS: created", "DECOM_LEDGER: created", "DECOM_OUTCOMES: created",
		"DECOM_SCANS/decom-a: created", "DECOM_LEDGER/outbox-a: created"}
	if got := setup(t, c, accounts...); !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	if got := setup(t, c, accounts...); got != nil {
		t.Fatalf("a second time it changed %v", got)
	}

	windows := map[string]time.Duration{queue.StreamScans: 100 * time.Millisecond, queue.StreamLedger: 2 * time.Minute, queue.StreamOutcomes: time.Hour}
	subjects := map[string]string{queue.StreamScans: "decom.scan.>", queue.StreamLedger: "decom.ledger.*", queue.StreamOutcomes: "decom.outcome.>"}
	for name, window := range windows {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		ledger := name == queue.StreamLedger
		if cfg.Duplicates != window || cfg.Retention != jetstream.LimitsPolicy || cfg.Storage != jetstream.FileStorage ||
			cfg.Discard != jetstream.DiscardNew || cfg.MaxAge != 0 || cfg.DenyDelete != ledger || cfg.DenyPurge != ledger ||
			cfg.AllowDirect || cfg.MaxMsgsPerSubject != -1 || cfg.Replicas != 1 || !slices.Equal(cfg.Subjects, []string{subjects[name]}) {
			t.Errorf("%s is %+v", name, cfg)
		}
	}
	cons, err := js.Consumer(t.Context(), queue.StreamScans, "decom-a")
	if err != nil {
		t.Fatal(err)
	}
	cfg := cons.CachedInfo().Config
	if cfg.AckPolicy != jetstream.AckExplicitPolicy || cfg.AckWait != time.Minute || cfg.MaxDeliver != -1 || cfg.MaxAckPending != 20000 ||
		cfg.PriorityPolicy != jetstream.PriorityPolicyPrioritized || !slices.Equal(cfg.PriorityGroups, []string{"w"}) ||
		!slices.Equal(cfg.FilterSubjects, []string{"decom.scan.north.>", "decom.scan.south.>"}) || cfg.DeliverPolicy != jetstream.DeliverAllPolicy {
		t.Errorf("decom-a is %+v", cfg)
	}
	if cons, err = js.Consumer(t.Context(), queue.StreamLedger, "outbox-a"); err != nil || cons.CachedInfo().Config.MaxAckPending != 1 {
		t.Errorf("outbox-a: %v", err)
	}
}

func TestTheLedgerCannotBeDeletedOrPurged(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	h := appendTo(t, c.Ledger("a"), head{}, "one")
	s, err := admin(t, c).Stream(t.Context(), queue.StreamLedger)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("purged")
	}
	if err := s.DeleteMsg(t.Context(), h.Seq); err == nil {
		t.Error("deleted")
	}
	if got := records(t, c.Ledger("a")); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestSetupBringsBackWhatOthersChanged(t *testing.T) {
	t.Parallel()
	c := setUp(t, lazy(), "a")
	js := admin(t, c)
	s, _ := js.Stream(t.Context(), queue.StreamScans)
	cfg := s.CachedInfo().Config
	cfg.MaxAge, cfg.Discard, cfg.MaxBytes = 24*time.Hour, jetstream.DiscardOld, 1<<30
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cons, _ := js.Consumer(t.Context(), queue.StreamScans, "decom-a")
	ccfg := cons.CachedInfo().Config
	ccfg.MaxAckPending, ccfg.MaxDeliver = 1000, 5
	if _, err := js.UpdateConsumer(t.Context(), queue.StreamScans, ccfg); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(setup(t, c, own("a")...), "\n")
	for _, want := range []string{"DECOM_SCANS: discard DiscardOld -> DiscardNew", "DECOM_SCANS: max_age 24h0m0s -> 0s",
		"DECOM_SCANS/decom-a: max_ack_pending 1000 -> 20000", "DECOM_SCANS/decom-a: max_deliver 5 -> -1"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if s, _ = js.Stream(t.Context(), queue.StreamScans); s.CachedInfo().Config.MaxBytes != 1<<30 || s.CachedInfo().Config.MaxAge != 0 {
		t.Errorf("now %+v", s.CachedInfo().Config)
	}
}

func TestSetupRefusesWhatCannotBeChangedAndChangesNothing(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	js := admin(t, c)
	for _, cfg := range []jetstream.StreamConfig{
		{Name: queue.StreamLedger, Subjects: []string{"decom.ledger.*"}, Storage: jetstream.MemoryStorage},
		{Name: queue.StreamScans, Subjects: []string{"decom.scan.>"}, DenyPurge: true},
		{Name: queue.StreamOutcomes, Subjects: []string{"decom.outcome.>"}, Retention: jetstream.WorkQueuePolicy},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreateConsumer(t.Context(), queue.StreamLedger, jetstream.ConsumerConfig{Durable: "outbox-a", AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	changes, err := c.Setup(t.Context(), own("a"), false)
	if !errors.Is(err, queue.ErrImmutable) || len(changes) > 0 {
		t.Fatalf("got %v, changed %v", err, changes)
	}
	for _, want := range []string{"DECOM_LEDGER has Memory storage, decom needs File storage", "DECOM_SCANS has deny_purge",
		"DECOM_OUTCOMES has work-queue retention", "DECOM_LEDGER/outbox-a has ack policy AckNone"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if s, _ := js.Stream(t.Context(), queue.StreamScans); s.CachedInfo().Config.Discard != jetstream.DiscardOld {
		t.Error("it changed something all the same")
	}
}

func TestSetupExplainsReplicasWithoutACluster(t *testing.T) {
	t.Parallel()
	first := connect(t, lazy())
	c := connect(t, queue.Config{URL: first.URL(), Replicas: 3})
	if _, err := c.Setup(t.Context(), own("a"), false); err == nil || !strings.Contains(err.Error(), "needs a cluster") {
		t.Fatalf("got %v", err)
	}
}

// TestSetupSaysUnavailableWhenTheServerCannotStore: a file stands where the server keeps its
// streams, which to it is what a full disk is.
func TestSetupSaysUnavailableWhenTheServerCannotStore(t *testing.T) {
	t.Parallel()
	cfg := lazy()
	cfg.Dir = t.TempDir()
	c := connect(t, cfg)
	streams := filepath.Join(cfg.Dir, "jetstream", "$G", "streams")
	if err := os.RemoveAll(streams); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(streams), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(streams, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := c.Setup(t.Context(), own("a"), false)
	if _, refused := errors.AsType[*jetstream.APIError](err); !refused || !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestSetupSaysWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	first := connect(t, lazy())
	ended, end := context.WithCancel(t.Context())
	end()
	late, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	for name, row := range map[string]struct {
		ctx      context.Context
		replicas int
		down     bool
	}{
		"nobody answered in time": {late, 0, true},
		"the caller ended it":     {ended, 0, false},
		"replicas but no cluster": {t.Context(), 3, false},
	} {
		c := connect(t, queue.Config{URL: first.URL(), Replicas: row.replicas})
		if _, err := c.Setup(row.ctx, own("a"), false); err == nil || errors.Is(err, queue.ErrUnavailable) != row.down || row.down && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSetupRefusesAccountsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	_, err := c.Setup(t.Context(), []queue.Account{{Name: "a"}, {Name: "b.c", Sites: []string{"x", ">"}}, {Name: "d", Sites: []string{"x"}}}, false)
	for _, want := range []string{"account a has no site", `account "b.c"`, `site ">"`, "site x is given to b.c and to d"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func put(t *testing.T, c *queue.Conn, site string, n int) {
	t.Helper()
	for i := range n {
		if _, err := c.PublishScan(t.Context(), site, "d", "", fmt.Append(nil, site, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// done fetches and acks until nothing is left, and returns the bodies.
func done(t *testing.T, c *queue.Conn, account string) (got []string) {
	t.Helper()
	for {
		ds, err := c.Scans(account).Fetch(within(t, 300*time.Millisecond), 100, 0, 0)
		if err != nil {
			return got
		}
		for _, d := range ds {
			got = append(got, string(d.Data()))
		}
		if err := queue.AckAll(t.Context(), ds); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScansOfASiteThatIsNamedLaterAreDelivered(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	setup(t, c, queue.Account{Name: "a", Sites: []string{"north"}})
	put(t, c, "new", 2)
	put(t, c, "north", 2)
	done(t, c, "a")
	got := setup(t, c, queue.Account{Name: "a", Sites: []string{"north", "new"}})
	if len(got) != 2 || !strings.Contains(got[1], "position sequence 5 -> sequence 1") {
		t.Fatalf("changes %v", got)
	}
	if got := done(t, c, "a"); !slices.Equal(got, []string{"new0", "new1", "north0", "north1"}) {
		t.Fatalf("delivered %v", got)
	}
	if got := setup(t, c, queue.Account{Name: "a", Sites: []string{"new", "north"}}); got != nil {
		t.Fatalf("again it changed %v", got)
	}
}

func TestASiteThatMovesBeginsBehindWhatItsOldAccountAcked(t *testing.T) {
	t.Parallel()
	for _, fresh := range []bool{true, false} {
		t.Run(fmt.Sprintf("to a new account %v", fresh), func(t *testing.T) {
			c := connect(t, lazy())
			a, b := queue.Account{Name: "a", Sites: []string{"north", "moves"}}, queue.Account{Name: "b", Sites: []string{"east"}}
			setup(t, c, a)
			if !fresh {
				setup(t, c, b)
			}
			put(t, c, "moves", 2)
			done(t, c, "a")
			put(t, c, "moves", 1)
			put(t, c, "east", 1)
			if !fresh {
				done(t, c, "b")
			}
			a.Sites, b.Sites = a.Sites[:1], append(b.Sites, "moves")
			setup(t, c, b, a)
			got := done(t, c, "b")
			if slices.Contains(got, "moves1") || !slices.Contains(got, "moves0") || len(got) != 2 { // the third is the second put's first
				t.Fatalf("delivered %v", got)
			}
			if got := done(t, c, "a"); got != nil {
				t.Fatalf("the old account got %v", got)
			}
		})
	}
}

// nats-server 2.15 gives a stream 1,000 consumers unless it is told otherwise: whoever has more
// accounts must read what to do about it, and be told before by Inspect.
func TestSetupNamesTheSettingThatLimitsConsumers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	monitor := l.Addr().String()
	_ = l.Close()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{JetStream: "limits { default_max_consumers: 2 }", Extra: fmt.Sprintf("http: %q", monitor)})
	c := connect(t, queue.Config{URL: srv.URL})
	if _, err := c.Setup(t.Context(), own("a", "b"), false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Setup(t.Context(), own("a", "b", "c"), false); err == nil || !strings.Contains(err.Error(), "default_max_consumers: -1") {
		t.Errorf("a third account: %v", err)
	}
	if in := inspect(t, c, "http://"+monitor); in.MaxConsumers != 2 {
		t.Errorf("room for %d consumers, want 2", in.MaxConsumers)
	}
	if in := inspect(t, c, ""); in.MaxConsumers != 0 {
		t.Errorf("without monitoring, room for %d is believed", in.MaxConsumers)
	}
}

func TestTheEmbeddedServerTakesAnyNumberOfConsumers(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	if _, err := c.Setup(t.Context(), own("a"), false); err != nil {
		t.Fatal(err)
	}
	js := admin(t, c)
	s, err := js.Stream(t.Context(), queue.StreamLedger)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1001 {
		if _, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: fmt.Sprint("more-", i), MemoryStorage: true}); err != nil {
			t.Fatalf("consumer %d: %v", i, err)
		}
	}
	if in := inspect(t, c, ""); in.MaxConsumers != -1 {
		t.Errorf("room for %d consumers, want any number", in.MaxConsumers)
	}
}
