package worker_test

import (
	"strings"
	"testing"
)

// TestEveryImportRuleCanBreak holds the rules against a made-up graph with one
// fault a row, so that a rule that never fires is found.
func TestEveryImportRuleCanBreak(t *testing.T) {
	program := func(path string, imports ...string) goPackage {
		return goPackage{ImportPath: path, Imports: imports}
	}
	for _, tt := range []struct {
		name string
		pkg  goPackage
		want string // part of the one sentence; empty: no rule is broken
	}{
		{"the real chain", program("decom/worker", "context", "decom/queue", "decom/worker/ledger", "decom/worker/gs1"), ""},
		{"owner of NATS", program("decom/queue", "github.com/nats-io/nats.go/jetstream"), ""},
		{"cmd embeds no parser", program("decom/cmd/decom", "decom/worker", "decom/nmvs/sim", "github.com/spf13/cobra"), ""},
		{"what decom is held against sees the servers", program("decom/bench/bare", "github.com/nats-io/nats.go", "github.com/redis/go-redis/v9", "encoding/xml"), ""},
		{"bench drives fakes", program("decom/bench", "decom/queue/queuetest"), ""},
		{"owner's fake runs a server", program("decom/worker/packstate/packstatetest", "testing", "github.com/redis/go-redis/v9"), ""},
		{"a prefix is not a name", program("decom/ratelimit", "testing2/x"), ""},
		{"tests take any library", goPackage{ImportPath: "decom/worker/gs1", TestImports: []string{"testing", "pgregory.net/rapid"}}, ""},
		{"tests take fakes", goPackage{ImportPath: "decom/worker", XTestImports: []string{"decom/queue/queuetest", "decom/nmvs/sim"}}, ""},
		{"a package tests itself", goPackage{ImportPath: "decom/queue", XTestImports: []string{"decom/queue", "decom/queue/queuetest"}}, ""},

		{"what decom is held against shares no code", program("decom/bench/bare", "decom/queue"), "shares no code"},
		{"upward", program("decom/queue", "decom/worker"), "decom/queue imports decom/worker: the queue carries"},
		{"sideways", program("decom/nmvs", "decom/ratelimit"), "one attempt on the wire"},
		{"leaf", program("decom/ratelimit", "decom/worker/scan"), "a leaf"},
		{"ledger sees the words only", program("decom/worker/ledger", "decom/worker/packstate"), "pure"},
		{"gs1 outside worker", program("decom/cmd/decom", "decom/worker/gs1"), "a dry run reads as the line does"},
		{"gs1 is the standard library's", program("decom/worker/gs1", "golang.org/x/text/unicode/norm"), "not in the standard library"},
		{"scan is the standard library's", program("decom/worker/scan", "github.com/oklog/ulid"), "not in the standard library"},
		{"NATS in worker", program("decom/worker", "github.com/nats-io/nats.go"), "for decom/queue and decom/bench/bare only"},
		{"NATS server in cmd", program("decom/cmd/decom", "github.com/nats-io/nats-server/v2/server"), "for decom/queue and decom/bench/bare only"},
		{"Redis in cmd", program("decom/cmd/decom", "github.com/redis/go-redis/v9"), "for decom/worker/packstate and decom/bench/bare only"},
		{"miniredis in worker", program("decom/worker", "github.com/alicebob/miniredis/v2"), "for decom/worker/packstate only"},
		{"XML in worker", program("decom/worker", "encoding/xml"), "for decom/nmvs and decom/nmvs/sim and decom/queue/doors/consolidated and decom/bench/bare and decom/queue/doors/wwks2 only"},
		{"breaker in worker", program("decom/worker", "github.com/sony/gobreaker/v2"), "for decom/nmvs only"},
		{"rate in nmvs", program("decom/nmvs", "golang.org/x/time/rate"), "for decom/ratelimit only"},
		{"traces in worker", program("decom/worker", "go.opentelemetry.io/otel/trace"), "for decom/cmd/decom/tracing only"},
		{"flags in worker", program("decom/worker", "github.com/spf13/pflag"), "only cmd reads flags"},
		{"YAML in queue", program("decom/queue", "github.com/goccy/go-yaml"), "only cmd reads configuration files"},
		{"test flags in the program", program("decom/queue", "testing"), "for nobody"},
		{"fake in the program", program("decom/queue/queuetest", "decom/worker/packstate/packstatetest"), "fakes are for tests and bench"},
		{"test upward", goPackage{ImportPath: "decom/nmvs", XTestImports: []string{"decom/worker"}}, "stands above it"},
		{"inner test upward", goPackage{ImportPath: "decom/worker/scan", TestImports: []string{"decom/cmd/decom"}}, "stands above it"},
		{"new package", program("decom/util"), "has no place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := brokenRules([]goPackage{tt.pkg})
			if tt.want == "" {
				if len(got) != 0 {
					t.Errorf("a graph that keeps the rules breaks %q", got)
				}
				return
			}
			if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("broken rules %q; one of them must say %q", got, tt.want)
			}
		})
	}
}
