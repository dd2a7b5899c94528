package worker

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestATroubleThatLastsIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		hooked := 0
		a := &Account{log: slog.New(slog.NewTextHandler(&out, nil)),
			deps: Deps{Hooks: Hooks{Trouble: func(string, error) { hooked++ }}}}
		for range 12 * 60 { // an hour of tries
			a.trouble("Redis", errors.New("connection refused"))
			a.trouble("scans", errors.New("no responders"))
			time.Sleep(5 * time.Second)
		}
		if redis, scans := strings.Count(out.String(), "what=Redis"), strings.Count(out.String(), "what=scans"); redis != 12 || scans != 12 {
			t.Errorf("told %d and %d times in an hour, want 12 each", redis, scans)
		}
		if hooked != 2*12*60 {
			t.Errorf("the hook was called %d times: status must show each", hooked)
		}
	})
}
