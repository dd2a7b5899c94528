package packstate_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"decom/worker/packstate"
)

// The driver holds the process's stderr from its start on, so a process of its own looks.
func TestADeadServerIsAnErrorAndNoNoise(t *testing.T) {
	const child = "DECOM_TEST_DEAD_REDIS"
	if url := os.Getenv(child); url != "" {
		if _, err := packstate.Open(t.Context(), packstate.Config{URL: url}); !errors.Is(err, packstate.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "redis://" + l.Addr().String() + "/0"
	l.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"="+url)
	var said strings.Builder
	cmd.Stderr = &said
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v\n%s%s", err, out, said.String())
	}
	if said.Len() > 0 {
		t.Errorf("written beside the error:\n%s", said.String())
	}
}
