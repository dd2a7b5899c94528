package packstate_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

func TestConfigReportsEveryProblem(t *testing.T) {
	err := packstate.Config{URL: "http://user:geheim@x", Master: "m", Timeout: -1, Pool: -1}.Validate()
	for _, want := range []string{"not both", "redis.url", "redis.master", "redis.timeout", "redis.pool"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "geheim") {
		t.Errorf("the password is in %v", err)
	}
	if err := (packstate.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "dir") {
		t.Errorf("an embedded store without a folder: %v", err)
	}
	if err := (packstate.Config{Addrs: []string{"a:1", ""}}).Validate(); err == nil || !strings.Contains(err.Error(), "addrs[1]") {
		t.Errorf("an empty address: %v", err)
	}
	for _, url := range []string{"redis://127.0.0.1:6379/0", "rediss://u:p@h:1/2", "unix:///run/redis.sock"} {
		if err := (packstate.Config{URL: url}).Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestUnsuitableServersAreRefusedInOneSentence(t *testing.T) {
	good := packstate.Server{Addr: "h:1", Version: "7.0.15", Role: "master", Policy: "noeviction", AOF: true}
	for _, r := range []struct {
		what   string
		change func(*packstate.Server)
		refuse string // part of the error
		warn   string // part of the warning
	}{
		{"as wanted", func(*packstate.Server) {}, "", ""},
		{"newer", func(s *packstate.Server) { s.Version = "10.2.0" }, "", ""},
		{"old", func(s *packstate.Server) { s.Version = "6.2.7" }, "7.0 or newer", ""},
		{"no version", func(s *packstate.Server) { s.Version = "" }, "", "does not tell its version"},
		{"replica", func(s *packstate.Server) { s.Role = "slave" }, "is a replica", ""},
		{"evicting", func(s *packstate.Server) { s.Policy = "allkeys-lru" }, "set it to noeviction", ""},
		{"evicting what expires", func(s *packstate.Server) { s.Policy = "volatile-lru" }, "set it to noeviction", ""},
		{"silent about eviction", func(s *packstate.Server) { s.Policy = "" }, "", "must be noeviction"},
		{"no file", func(s *packstate.Server) { s.AOF = false }, "", "append-only"},
	} {
		sv := good
		r.change(&sv)
		warn, err := packstate.Judge(sv)
		if (err != nil) != (r.refuse != "") || err != nil && (!errors.Is(err, packstate.ErrUnsuitable) || !strings.Contains(err.Error(), r.refuse)) {
			t.Errorf("%s: %v, want %q", r.what, err, r.refuse)
		}
		if text := strings.Join(warn, "; "); (text != "") != (r.warn != "") || !strings.Contains(text, r.warn) {
			t.Errorf("%s: warned %q, want %q", r.what, text, r.warn)
		}
	}
}

func wantOpenFails(t *testing.T, cfg packstate.Config, cause error, text string) {
	t.Helper()
	s, err := packstate.Open(t.Context(), cfg)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), text) {
		t.Errorf("Open = %v, want %v with %q", err, cause, text)
	}
	if err != nil && strings.Contains(err.Error(), "geheim") {
		t.Errorf("the password is in %v", err)
	}
}

func TestOpenChecksARealServer(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{})
	s := open(t, packstate.Config{URL: server.URL()})
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "append-only") {
		t.Errorf("warnings of a server without AOF: %q", w)
	}
	if info, err := s.Info(t.Context()); err != nil || info.Embedded || len(info.Servers) != 1 ||
		!strings.HasPrefix(info.Servers[0].Version, "7.") || info.Servers[0].UsedMemory == 0 || info.Servers[0].Policy != "noeviction" {
		t.Errorf("Info = %+v, %v", info, err)
	}
	server.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	wantOpenFails(t, packstate.Config{URL: server.URL()}, packstate.ErrUnsuitable, "noeviction")
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction", "appendonly", "yes")
	if w := open(t, packstate.Config{URL: server.URL()}).Warnings(); len(w) != 0 {
		t.Errorf("warnings = %q", w)
	}
	// A managed server: no CONFIG, INFO tells.
	server.Do("ACL", "SETUSER", "decom", "on", ">geheim", "~decom:*", "+@all", "-config", "-@dangerous", "+info")
	if w := open(t, packstate.Config{URL: server.URL(), Username: "decom", Password: "geheim"}).Warnings(); len(w) != 0 {
		t.Errorf("without CONFIG: %q", w)
	}
	wantOpenFails(t, packstate.Config{URL: server.URL(), Username: "decom", Password: "geheim2"}, packstate.ErrUnsuitable, "refused")
	server.Do("ACL", "SETUSER", "decom", "-eval", "-evalsha", "-script")
	wantOpenFails(t, packstate.Config{URL: server.URL(), Username: "decom", Password: "geheim"}, packstate.ErrUnsuitable, "scripts")
	server.Do("REPLICAOF", "127.0.0.1", "1")
	wantOpenFails(t, packstate.Config{URL: server.URL()}, packstate.ErrUnsuitable, "replica")
	server.Kill()
	wantOpenFails(t, packstate.Config{URL: server.URL(), Timeout: time.Second}, packstate.ErrUnavailable, "")
}

// begin begins acc and projects n empty records.
func begin(t *testing.T, s *packstate.Store, n uint64) {
	t.Helper()
	if st, err := s.Begin(t.Context(), acc); err != nil || st != packstate.OK {
		t.Fatalf("Begin = %v, %v", st, err)
	}
	for seq := uint64(1); seq <= n; seq++ {
		wantApply(t, s, packstate.OK, seq)
	}
}

// record is what record seq of these tests changes.
func record(seq uint64) (ledger.States, ledger.Index) {
	k := packstatetest.ID(int(seq))
	return ledger.States{k: {Phase: ledger.Opened, Op: scan.Supply, Changed: seq, Opening: seq}}, ledger.Index{Open: map[uint64]int{seq: 1}}
}

func wantApply(t *testing.T, s *packstate.Store, want packstate.Status, seq uint64) {
	t.Helper()
	states, idx := record(seq)
	if st, err := s.Apply(t.Context(), acc, headAt(seq-1, ""), headAt(seq, ""), states, idx); err != nil || st != want {
		t.Fatalf("Apply(%d) = %v, %v; want %v", seq, st, err, want)
	}
}

func wantView(t *testing.T, s *packstate.Store, want packstate.Status, seq uint64) {
	t.Helper()
	st, states, err := s.View(t.Context(), acc, headAt(seq, ""), []scan.PackID{packstatetest.ID(1)})
	if err != nil || st != want || st == packstate.OK && len(states) != 1 {
		t.Fatalf("View(%d) = %v, %v, %v; want %v", seq, st, states, err, want)
	}
}

func TestAForgottenScriptIsLoadedAgain(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{})
	s := open(t, packstate.Config{URL: server.URL()})
	server.Do("SCRIPT", "FLUSH")
	begin(t, s, 1)
	server.Do("SCRIPT", "FLUSH")
	wantApply(t, s, packstate.OK, 2)
	server.Do("SCRIPT", "FLUSH")
	wantView(t, s, packstate.OK, 2)
}

func TestServerKilledComesBackWithItsFile(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{AOF: true})
	s := open(t, packstate.Config{URL: server.URL(), Timeout: time.Second})
	begin(t, s, 3)
	server.Kill()
	states, idx := record(4)
	if _, err := s.Apply(t.Context(), acc, headAt(3, ""), headAt(4, ""), states, idx); !errors.Is(err, packstate.ErrUnavailable) {
		t.Fatalf("Apply to a dead server: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, packstate.ErrUnavailable) {
		t.Fatalf("Ping of a dead server: %v", err)
	}
	server.Start()
	wantView(t, s, packstate.OK, 3)
	wantApply(t, s, packstate.OK, 4)
}

func TestServerRestartedFromAnOldDumpIsStale(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{})
	s := open(t, packstate.Config{URL: server.URL()})
	begin(t, s, 3)
	server.Do("SAVE")
	wantApply(t, s, packstate.OK, 4)
	wantApply(t, s, packstate.OK, 5)
	server.Kill()
	server.Start()
	wantView(t, s, packstate.Stale, 5)
	wantApply(t, s, packstate.Stale, 6)
	if h, ok, err := s.Head(t.Context(), acc); err != nil || !ok || h != headAt(3, "") {
		t.Fatalf("Head = %v, %v, %v", h, ok, err)
	}
	for seq := uint64(4); seq <= 6; seq++ {
		wantApply(t, s, packstate.OK, seq)
	}
	wantView(t, s, packstate.OK, 6)
}

// A full Redis must refuse a record whole, not take half of it.
func TestFullServerTakesNothing(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{})
	s := open(t, packstate.Config{URL: server.URL()})
	begin(t, s, 3)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	states, idx := record(4)
	if st, err := s.Apply(t.Context(), acc, headAt(3, ""), headAt(4, ""), states, idx); err == nil {
		t.Fatalf("Apply to a full server = %v", st)
	}
	wantView(t, s, packstate.OK, 3) // reading goes on
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if seqs, err := s.OpenSeqs(t.Context(), acc); err != nil || len(seqs) != 3 {
		t.Fatalf("OpenSeqs = %v, %v", seqs, err)
	}
	wantApply(t, s, packstate.OK, 4)
}

func TestForeignValueIsAnErrorWithThePacksName(t *testing.T) {
	for _, value := range []string{"\x02newer", strings.Repeat("x", 65), strings.Repeat("\x01", 300)} {
		s := open(t, packstate.Config{Dir: t.TempDir()})
		begin(t, s, 1)
		k := packstatetest.ID(1)
		if err := s.SetRaw(t.Context(), acc, string(k[:3]), string(k[3:]), value); err != nil {
			t.Fatal(err)
		}
		_, states, err := s.View(t.Context(), acc, headAt(1, ""), []scan.PackID{packstatetest.ID(2), k})
		if !errors.Is(err, packstate.ErrValue) || !strings.Contains(fmt.Sprint(err), string(k)) || states != nil {
			t.Errorf("%d bytes: View = %v, %v", len(value), states, err)
		}
		each := func(scan.PackID, ledger.State) error { return nil }
		if err := s.Each(t.Context(), acc, each); !errors.Is(err, packstate.ErrValue) {
			t.Errorf("%d bytes: Each = %v", len(value), err)
		}
	}
}

func TestEmbeddedOpensNoPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a socket would hang the bubble
		s := open(t, packstate.Config{Dir: t.TempDir()})
		begin(t, s, 2)
		wantView(t, s, packstate.OK, 2)
		for _, w := range []string{"w1", "w2"} {
			if _, err := s.Heartbeat(t.Context(), w, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(59 * time.Second)
		if alive, err := s.Heartbeat(t.Context(), "w3", time.Minute); err != nil || len(alive) != 3 {
			t.Errorf("after 59 s: %v, %v", alive, err)
		}
		time.Sleep(time.Second)
		if alive, err := s.Heartbeat(t.Context(), "w3", time.Minute); err != nil || len(alive) != 1 {
			t.Errorf("after 60 s: %v, %v", alive, err)
		}
	})
}

// cutProxy forwards to a server until cut; then it lets a request through and
// drops the connection instead of handing the answer back.
type cutProxy struct {
	l      net.Listener
	server string
	cuts   chan struct{} // one token = one answer to lose
}

func startCutProxy(t *testing.T, server string) *cutProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutProxy{l: l, server: server, cuts: make(chan struct{}, 10)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *cutProxy) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		defer up.Close()
		pipe(up, c, nil)
	}()
	pipe(c, up, p.cuts)
}

func pipe(dst, src net.Conn, cuts chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-cuts: // never from a nil channel
			return
		default:
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestAnAnswerLostOnTheWayIsHealedByRepeating(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{})
	proxy := startCutProxy(t, server.Addr())
	s := open(t, packstate.Config{URL: "redis://" + proxy.l.Addr().String()})
	begin(t, s, 2)
	proxy.cuts <- struct{}{}
	wantApply(t, s, packstate.Same, 3) // the client's second try finds the first one's work
	if seqs, err := s.OpenSeqs(t.Context(), acc); err != nil || len(seqs) != 3 || seqs[3] != 1 {
		t.Fatalf("OpenSeqs = %v, %v", seqs, err)
	}
	for range 8 { // more than the client repeats
		proxy.cuts <- struct{}{}
	}
	states, idx := record(4)
	if st, err := s.Apply(t.Context(), acc, headAt(3, ""), headAt(4, ""), states, idx); !errors.Is(err, packstate.ErrUnavailable) {
		t.Fatalf("Apply with all answers lost = %v, %v", st, err)
	}
	for len(proxy.cuts) > 0 {
		<-proxy.cuts
	}
	wantApply(t, s, packstate.Same, 4)
	if seqs, err := s.OpenSeqs(t.Context(), acc); err != nil || seqs[4] != 1 {
		t.Fatalf("OpenSeqs = %v, %v", seqs, err)
	}
}
