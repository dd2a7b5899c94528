package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"decom/worker/packstate/packstatetest"
)

// manager is a service manager's side of sd_notify: it keeps what it is told.
type manager struct {
	name string
	mu   sync.Mutex
	told []string // guarded by mu
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{name: filepath.Join(dir, "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = os.RemoveAll(dir)
	})
	go func() { // ends with the socket
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.told = append(m.told, string(b[:n]))
			m.mu.Unlock()
		}
	}()
	return m
}

// since waits until a message from place n on begins with the word, and returns the next place.
func (m *manager) since(t *testing.T, n int, word string, patience time.Duration) int {
	t.Helper()
	next := 0
	eventually(t, patience, "the service manager is told "+word, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := n; i < len(m.told); i++ {
			if strings.HasPrefix(m.told[i], word) {
				next = i + 1
				return nil
			}
		}
		return fmt.Errorf("told %q", m.told[min(n, len(m.told)):])
	})
	return next
}

// TestTheServiceManagerIsToldReadyReloadingAndStopping, in that order, by the real process; the
// watchdog gets its beat, and a reload takes limits over or keeps them.
func TestTheServiceManagerIsToldReadyReloadingAndStopping(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{rate: "20/s"})
	m := newManager(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := l.launch(exe, "BE_DECOM=1", "NOTIFY_SOCKET="+m.name, "WATCHDOG_USEC=900000")
	r.serving()
	n := m.since(t, 0, "READY=1\nSTATUS=1 account(s)", 10*time.Second)
	n = m.since(t, m.since(t, n, "WATCHDOG=1", 10*time.Second), "WATCHDOG=1", 10*time.Second)

	change := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(l.config())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(from)) {
			t.Fatalf("no %q in the configuration", from)
		}
		write(t, l.dir, "decom.yaml", strings.Replace(string(b), from, to, 1))
		r.signal(syscall.SIGHUP)
	}
	change("single: 20/s", "single: 7/s")
	n = m.since(t, m.since(t, n, "RELOADING=1", 10*time.Second), "READY=1", 10*time.Second)
	limit := func(want float64) {
		t.Helper()
		eventually(t, 10*time.Second, fmt.Sprint("the limit is ", want), func() error {
			s, err := r.accountStatus()
			if err == nil && s.Services[0].Limit != want {
				err = fmt.Errorf("it is %v", s.Services[0].Limit)
			}
			return err
		})
	}
	limit(7)
	if got := r.metric("decom_config_reload_failed"); got != "0" {
		t.Errorf("decom_config_reload_failed %s", got)
	}
	change("single: 7/s", "single: seven")
	n = m.since(t, m.since(t, n, "RELOADING=1", 10*time.Second), "READY=1\nSTATUS=1 account(s), the changed configuration is wrong", 10*time.Second)
	limit(7)
	if got := r.metric("decom_config_reload_failed"); got != "1" {
		t.Errorf("after a wrong file decom_config_reload_failed is %s", got)
	}
	change("single: seven", "single: 6/s")
	n = m.since(t, n, "READY=1", 10*time.Second)
	limit(6)
	r.signal(syscall.SIGTERM)
	m.since(t, n, "STOPPING=1", 10*time.Second)
	if code := r.waitEnd(15 * time.Second); code != exitFine {
		t.Errorf("exit code %d", code)
	}
}

// TestAStuckLoopStopsTheWatchdogsBeat, and says so once; one that moves again brings it back.
func TestAStuckLoopStopsTheWatchdogsBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var beats, still atomic.Int64
		n := &notifier{send: func(string) { beats.Add(1) }, log: slog.New(slog.NewJSONHandler(&log, nil))}
		ctx, cancel := context.WithCancelCause(t.Context())
		go n.watchdog(ctx, time.Minute, func() (string, time.Duration) { return "chu", time.Duration(still.Load()) })
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if n := beats.Swap(0); n != 3 {
			t.Errorf("%d beats in a minute, want 3", n)
		}
		still.Store(int64(50 * time.Second))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if beats.Load() != 0 || strings.Count(log.String(), `"account":"chu"`) != 1 {
			t.Errorf("%d beats of a stuck loop, log %s", beats.Load(), &log)
		}
		still.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if beats.Load() == 0 {
			t.Error("no beat after the loop moved again")
		}
		cancel(errors.New("end"))
		synctest.Wait()
	})
}
