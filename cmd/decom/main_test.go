package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain lets the test binary be decom: scripts below run it as a child.
func TestMain(m *testing.M) {
	if os.Getenv("BE_DECOM") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// syncBuffer is a buffer that a test may read while a command writes.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// result is how a command line ended.
type result struct {
	code           int
	stdout, stderr string
}

// inProcess runs one command line in this process with nothing but env.
func inProcess(t *testing.T, env []string, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, environ: env}
	code := execute(t.Context(), a, args)
	return result{code, out.String(), errs.String()}
}

// child makes a command that runs this binary as decom.
func child(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, exe, args...)
	c.Env = []string{"BE_DECOM=1", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	c.Dir = t.TempDir()
	return c
}

// write puts a file into dir and returns its name.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestBinaryExitsWithTheCodesOfTheContract(t *testing.T) {
	dir := t.TempDir()
	bad := write(t, dir, "bad.yaml", "nats:\n  urll: nats://x\n")
	scans := write(t, dir, "scans.txt", "hello\n")
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string // on stderr
	}{
		{"help", []string{"--help"}, 0, ""},
		{"version", []string{"--version"}, 0, ""},
		{"unknown command", []string{"nonsense"}, 2, `decom: decom has no command "nonsense"; decom --help shows them all`},
		{"unknown flag", []string{"publish", "--nonsense"}, 2, "decom: --nonsense: there is no such flag"},
		{"no sub-command", []string{"config"}, 2, "decom: decom config wants a command: check, init, show"},
		{"wrong language", []string{"--lang", "de", "config", "show"}, 2, "only fr and en"},
		{"nonsense code", []string{"explain", "nonsense"}, 2, "is no code of NMVS"},
		{"publish from nowhere", []string{"publish", scans}, 2, "--site is missing"},
		{"unknown key", []string{"config", "check", "--config", bad}, 78, "bad.yaml:2:3: nats.urll: unknown key, did you mean url?"},
		{"no such file", []string{"config", "check", "--config", dir + "/none.yaml"}, 78, "no such file"},
		{"nothing configured", []string{"config", "check"}, 78, "accounts: is empty"},
		{"setup with a bad configuration", []string{"setup", "--config", bad}, 78, "unknown key"},
		{"dead server", []string{"publish", scans, "--site", "s", "--device", "d", "--set", "nats.url=nats://127.0.0.1:1"}, 75, "NATS is not available"},
		{"dead server at setup", []string{"setup", "--set", "nats.url=nats://127.0.0.1:1", "--set", "accounts.0.name=a", "--set", "accounts.0.sites=s"}, 75, "NATS is not available"},
		{"no such input", []string{"publish", dir + "/none.txt", "--site", "s", "--device", "d"}, 1, "there is no file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := child(t.Context(), t, tc.args...)
			var errs bytes.Buffer
			c.Stderr = &errs
			err := c.Run()
			if got := c.ProcessState.ExitCode(); got != tc.code {
				t.Errorf("exit code %d (%v), want %d; stderr:\n%s", got, err, tc.code, &errs)
			}
			if !strings.Contains(errs.String(), tc.says) {
				t.Errorf("stderr does not say %q:\n%s", tc.says, &errs)
			}
			if n := strings.Count(errs.String(), "decom: "); tc.code != 0 && n != 1 {
				t.Errorf("the error is told %d times, want once:\n%s", n, &errs)
			}
		})
	}
}

func TestFirstSignalDrainsAndSecondOneEndsAtOnce(t *testing.T) {
	signals := make(chan os.Signal, 2)
	ctx, cancel := context.WithCancelCause(t.Context())
	exited := make(chan int, 1)
	go watchSignals(signals, cancel, func(code int) { exited <- code })
	signals <- syscall.SIGTERM
	<-ctx.Done()
	if cause, ok := errors.AsType[stopped](context.Cause(ctx)); !ok || cause.sig != syscall.SIGTERM {
		t.Errorf("cause = %v, want the signal", context.Cause(ctx))
	}
	select {
	case code := <-exited:
		t.Fatalf("exited with %d on the first signal", code)
	case <-time.After(2 * oneSignal):
	}
	signals <- os.Interrupt
	if code := <-exited; code != 130 {
		t.Errorf("second signal exits with %d, want 130", code)
	}
}

func TestASignalToTheWholeGroupIsOneSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		var codes []int
		go watchSignals(signals, func(error) {}, func(code int) { codes = append(codes, code) })
		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM
		synctest.Wait()
		if len(codes) != 0 {
			t.Fatalf("exited with %v", codes)
		}
		time.Sleep(oneSignal)
		signals <- syscall.SIGTERM
		synctest.Wait()
		if len(codes) != 1 || codes[0] != 143 {
			t.Errorf("exits with %v, want 143 once", codes)
		}
	})
}

func TestLanguageFollowsFlagThenLocale(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"nothing", nil, nil, "A rule says no"},
		{"locale", []string{"LANG=fr_FR.UTF-8"}, nil, "Une règle dit non"},
		{"LC_ALL before LANG", []string{"LANG=fr_FR.UTF-8", "LC_ALL=C"}, nil, "A rule says no"},
		{"flag before locale", []string{"LANG=fr_FR.UTF-8"}, []string{"--lang", "en"}, "A rule says no"},
		{"flag", nil, []string{"--lang=fr"}, "Une règle dit non"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := inProcess(t, tc.env, "", append([]string{"explain", "refused"}, tc.args...)...)
			if r.code != 0 || !strings.Contains(r.stdout, tc.want) {
				t.Errorf("code %d, stdout %q, want %q", r.code, r.stdout, tc.want)
			}
		})
	}
}

func TestHelpListsOnlyCommandsThatDoSomething(t *testing.T) {
	root := newRoot(&app{})
	for _, c := range root.Commands() {
		if c.RunE == nil && c.Run == nil {
			t.Errorf("%s does nothing", c.Name())
		}
		if c.Short == "" {
			t.Errorf("%s has no text", c.Name())
		}
	}
}
