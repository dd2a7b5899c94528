package wwks2

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestATroubleThatGoesOnIsLoggedOnceAMinute: a slow disk is one for every document. The metric
// has each, another trouble is told at once, and the next line says how many were not.
func TestATroubleThatGoesOnIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		w := &troubles{}
		tap := newTap(&Listener{log: slog.New(slog.NewTextHandler(&b, nil)), deps: Deps{Trouble: w.count}})
		slow := func(n int) {
			for range n {
				tap.heard([]byte("<OutputMessage/>")) // nobody writes it in time
				for _, any := tap.next(); any; _, any = tap.next() {
				}
			}
		}
		lines := func(want int, last string) {
			t.Helper()
			all := strings.Split(strings.TrimSpace(b.String()), "\n")
			if len(all) != want || !strings.Contains(all[len(all)-1], last) {
				t.Errorf("%d lines, want %d, the last one with %q:\n%s", len(all), want, last, b.String())
			}
		}
		slow(100) // 2 s
		lines(1, "the disk is slow")
		if n := w.of(Late); n != 100 {
			t.Errorf("%d counted, want each of 100", n)
		}
		tap.trouble(NotKept, "the disk takes nothing", "err", errors.New("disk full"))
		lines(2, "disk full")
		time.Sleep(troubleQuiet)
		slow(1)
		lines(3, "not_logged_since=99")
		time.Sleep(troubleQuiet)
		slow(1)
		lines(4, "the disk is slow")
		if strings.Count(b.String(), "not_logged_since") != 1 {
			t.Errorf("a line that hides nothing says so:\n%s", b.String())
		}
	})
}
