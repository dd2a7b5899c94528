package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

func TestLogIsJSONForACollectorAndRespectsItsLevel(t *testing.T) {
	for _, tc := range []struct {
		cfg  LogConfig
		json bool
	}{
		{LogConfig{}, true}, // a buffer is no terminal
		{LogConfig{Format: "auto"}, true},
		{LogConfig{Format: "json"}, true},
		{LogConfig{Format: "text"}, false},
	} {
		var b bytes.Buffer
		log := newLogger(&b, tc.cfg, new(slog.LevelVar))
		log.Debug("hidden")
		log.Info("shown", "account", "chu")
		if got := json.Valid(bytes.TrimSpace(b.Bytes())); got != tc.json || !strings.Contains(b.String(), "chu") || strings.Contains(b.String(), "hidden") {
			t.Errorf("%+v: %s", tc.cfg, &b)
		}
	}
	var b bytes.Buffer
	log := newLogger(&b, LogConfig{Level: "error"}, new(slog.LevelVar))
	log.Warn("hidden")
	log.Error("shown")
	if strings.Contains(b.String(), "hidden") || !strings.Contains(b.String(), "shown") {
		t.Errorf("level error: %s", &b)
	}
}
