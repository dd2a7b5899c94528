package worker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list -json` says about one package.
type goPackage struct {
	ImportPath   string
	Imports      []string // of the program
	TestImports  []string // of tests inside the package
	XTestImports []string // of tests outside it
}

// places names every package of the module and what of ours it may import. The
// chain is style.md section 1: cmd, bench -> worker -> queue, nmvs, ratelimit,
// worker/packstate -> worker/ledger -> worker/scan. A package that is not here
// fails the test: decide where it stands before writing it.
var places = map[string]struct {
	may []string
	why string
}{
	"decom/worker/rawjson": {nil, "writing and reading JSON text needs no word of ours"},
	"decom/worker/scan":    {[]string{"decom/worker/rawjson"}, "the words everybody shares stand at the bottom"},
	"decom/worker/gs1":     {nil, "reading a data carrier needs nothing but its text"},
	"decom/ratelimit":      {nil, "a leaf: the limiter knows names and numbers, not packs"},
	"decom/worker/ledger": {
		[]string{"decom/worker/scan", "decom/worker/rawjson"},
		"what a record means is pure and depends on the words only",
	},
	"decom/worker/packstate": {
		[]string{"decom/worker/ledger", "decom/worker/scan"},
		"Redis is a projection of the ledger and knows nothing of queues or NMVS",
	},
	"decom/worker/packstate/packstatetest": {
		[]string{"decom/worker/packstate", "decom/worker/ledger", "decom/worker/scan"},
		"a fake stands beside what it stands for",
	},
	"decom/queue": {
		[]string{"decom/worker/ledger", "decom/worker/scan"},
		"the queue carries records and scans and decides nothing about them",
	},
	"decom/queue/queuetest": {
		[]string{"decom/queue", "decom/worker/ledger", "decom/worker/scan"},
		"a fake stands beside what it stands for",
	},
	"decom/queue/doors": {
		[]string{"decom/worker/scan"},
		"what a sender gave becomes an event by one rule, whichever door it came through",
	},
	"decom/queue/doors/files": {
		[]string{"decom/queue", "decom/queue/doors", "decom/worker/scan"},
		"a door publishes; what reads a data carrier is handed in",
	},
	"decom/queue/doors/wwks2": {
		[]string{"decom/queue", "decom/queue/doors", "decom/worker/scan"},
		"a robot's words become events; the code is read by what cmd hands in",
	},
	"decom/queue/doors/http": {
		[]string{"decom/queue", "decom/queue/doors", "decom/ratelimit", "decom/worker/scan"},
		"a door publishes and reads outcomes; it paces its devices with the one limiter and reads no data carrier itself",
	},
	"decom/queue/doors/consolidated": {
		[]string{"decom/queue", "decom/queue/doors", "decom/worker/scan"},
		"a door makes scan events; how a pack's fields are judged is handed in by cmd",
	},
	"decom/nmvs": {
		[]string{"decom/worker/scan"},
		"the client is one attempt on the wire and knows no ledger",
	},
	"decom/nmvs/sim": {
		[]string{"decom/nmvs", "decom/worker/scan"},
		"a judge that shared the worker's code would share its mistakes",
	},
	"decom/worker": {
		[]string{"decom/queue", "decom/nmvs", "decom/ratelimit", "decom/worker/packstate", "decom/worker/ledger", "decom/worker/scan", "decom/worker/gs1"},
		"the line joins the leaves and knows no command line",
	},
	"decom/deploy": {
		[]string{"decom/queue", "decom/queue/queuetest", "decom/worker/scan"},
		"it has no code but tests of what is shipped beside the program: examples, schemas, alert rules",
	},
	"decom/bench/bare": {nil, "what decom is held against shares no code with it"},
	"decom/bench": {
		[]string{"decom/bench/bare", "decom/worker", "decom/queue", "decom/queue/queuetest", "decom/nmvs", "decom/nmvs/sim", "decom/ratelimit", "decom/worker/packstate", "decom/worker/packstate/packstatetest", "decom/worker/ledger", "decom/worker/scan"},
		"load is made of the real parts; scans are read by the worker only",
	},
	"decom/bench/chaos": {
		nil,
		"it has no code but tests of real processes: what it drives is built and started, not imported",
	},
	"decom/cmd/decom/tracing": {
		[]string{"decom/worker"},
		"what the line tells of a scan is sent on as it is; it needs no word of the line's parts",
	},
	"decom/cmd/decom/report": {
		[]string{"decom/worker/ledger", "decom/worker/scan"},
		"counting records is pure: whoever reads them hands them in",
	},
	"decom/cmd/decom": {
		[]string{"decom/bench", "decom/queue/doors/consolidated", "decom/worker", "decom/queue", "decom/queue/doors", "decom/queue/doors/files", "decom/queue/doors/http", "decom/queue/doors/wwks2", "decom/nmvs", "decom/nmvs/sim", "decom/ratelimit", "decom/worker/packstate", "decom/worker/ledger", "decom/worker/scan", "decom/cmd/decom/tracing", "decom/cmd/decom/report"},
		"the command wires; whatever reads a data carrier goes through worker, so that a dry run reads as the line does",
	},
}

// owners names the only packages that may see an outside library or part. An
// import path that starts with a prefix belongs to its owners.
var owners = []struct {
	prefix string
	owner  []string
	why    string
}{
	{"github.com/nats-io/", []string{"decom/queue", "decom/bench/bare"}, "so that the promises made of JetStream are kept in one place"},
	{"github.com/redis/", []string{"decom/worker/packstate", "decom/bench/bare"}, "so that no other writer can pass the head check"},
	{"github.com/alicebob/miniredis", []string{"decom/worker/packstate"}, "the embedded store is a store like any other"},
	{"encoding/xml", []string{"decom/nmvs", "decom/nmvs/sim", "decom/queue/doors/consolidated", "decom/bench/bare", "decom/queue/doors/wwks2"}, "so that strict reading of answers is in one place; a supplier's EPCIS file is the one other XML"},
	{"github.com/sony/gobreaker", []string{"decom/nmvs"}, "so that one breaker decides what speaks of NMVS's health"},
	{"golang.org/x/time/rate", []string{"decom/ratelimit"}, "so that every call passes one limiter"},
	{"github.com/spf13/", []string{"decom/cmd/decom"}, "only cmd reads flags"},
	{"github.com/goccy/go-yaml", []string{"decom/cmd/decom"}, "only cmd reads configuration files"},
	{"github.com/schollz/progressbar", []string{"decom/cmd/decom"}, "only commands speak to a terminal"},
	{"go.opentelemetry.io/", []string{"decom/cmd/decom/tracing"}, "so that the line pays nothing for traces that nobody collects"},
	{"github.com/lmittmann/tint", []string{"decom/cmd/decom"}, "only commands speak to a terminal"},
	{"testing", nil, "a program that carries test code starts with test flags"},
}

// testHelper tells whether tests and bench only may import the package.
func testHelper(path string) bool {
	return path == "decom/queue/queuetest" || path == "decom/worker/packstate/packstatetest"
}

// standardOnly are the packages that import no library but the standard one.
var standardOnly = map[string]string{
	"decom/worker/scan":    "the words of the system are readable without knowing any library",
	"decom/worker/rawjson": "it stands in for the standard library where that is too slow",
	"decom/worker/gs1":     "the parser is fuzzed and used where nothing else is wanted",
}

// brokenRules returns one sentence a broken rule, with the rule's reason, sorted.
func brokenRules(graph []goPackage) []string {
	var broken []string
	say := func(format string, a ...any) { broken = append(broken, fmt.Sprintf(format, a...)) }
	for _, p := range graph {
		place, known := places[p.ImportPath]
		if !known {
			say("%s has no place in worker/imports_test.go: a package needs its one job and its place in the chain first", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if ours(i) && !slices.Contains(place.may, i) {
				say("%s imports %s: %s", p.ImportPath, i, place.why)
			}
			if testHelper(i) && p.ImportPath != "decom/bench" {
				say("%s imports %s: fakes are for tests and bench", p.ImportPath, i)
			}
			if why, ok := standardOnly[p.ImportPath]; ok && !standard(i) && !ours(i) { // ours: the rule of places
				say("%s imports %s, which is not in the standard library: %s", p.ImportPath, i, why)
			}
			for _, o := range owners {
				if under(i, o.prefix) && !slices.Contains(o.owner, p.ImportPath) && !testHelper(p.ImportPath) {
					say("%s imports %s, which is for %s: %s", p.ImportPath, i, orNobody(o.owner), o.why)
				}
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if above(i, p.ImportPath) {
				say("the tests of %s import %s, which stands above it: a part must be provable alone", p.ImportPath, i)
			}
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

// ours tells whether path is a package of this module.
func ours(path string) bool { return path == "decom" || strings.HasPrefix(path, "decom/") }

// standard tells whether path is in the standard library: its first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !ours(path) && !strings.Contains(first, ".")
}

// under tells whether path is prefix or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/')
}

// above tells whether importer a may import b in the program, directly or through
// others. A package is not above itself.
func above(a, b string) bool {
	if a == b || testHelper(a) {
		return false
	}
	return slices.ContainsFunc(places[a].may, func(c string) bool { return c == b || above(c, b) })
}

func orNobody(list []string) string {
	if len(list) == 0 {
		return "nobody"
	}
	return strings.Join(list, " and ") + " only"
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "decom/...")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var graph []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatal(err)
		}
		graph = append(graph, p)
	}
}

func TestImportsGoOneWay(t *testing.T) {
	graph := listPackages(t)
	if len(graph) < 10 {
		t.Fatalf("go list found %d packages of this module; the rules would prove nothing", len(graph))
	}
	for _, b := range brokenRules(graph) {
		t.Error(b)
	}
}

// The chain itself must have no circle, or "above" would mean nothing.
func TestPlacesHaveNoCircle(t *testing.T) {
	done := map[string]bool{}
	var walk func(path string, trail []string)
	walk = func(path string, trail []string) {
		if slices.Contains(trail, path) {
			t.Fatalf("circle: %s", strings.Join(append(trail, path), " -> "))
		}
		place, ok := places[path]
		if !ok {
			t.Errorf("%s is allowed somewhere but has no place", path)
		}
		for _, next := range place.may {
			if !done[next] {
				walk(next, append(slices.Clone(trail), path))
			}
		}
		done[path] = true
	}
	for _, path := range slices.Sorted(maps.Keys(places)) {
		walk(path, nil)
	}
}
