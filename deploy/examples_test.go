package deploy

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/scan"
)

// example is one program that publishes an event.
type example struct {
	name, tool string
	args       []string
	prepare    func(t *testing.T) string // returns the folder to run in
}

func inExamples(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("examples")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var examples = []example{
	{"bash", "bash", []string{"publish.sh"}, inExamples},
	{"python", "python3", []string{"publish.py"}, inExamples},
	{"java", "java", []string{"-XX:TieredStopAtLevel=1", "Publish.java"}, inExamples},
	{"node", "node", []string{"publish.mjs"}, nodeFolder},
}

// nodeClient is the version that publish.mjs names in its first lines.
const nodeClient = "3.4.0"

// nodeFolder holds publish.mjs beside the official client, which is fetched once a
// machine and kept in the user's cache.
func nodeFolder(t *testing.T) string {
	t.Helper()
	if !strings.Contains(read(t, "examples/publish.mjs"), "@nats-io/transport-node@"+nodeClient+" ") {
		t.Fatalf("publish.mjs does not ask for the client %s that is tested", nodeClient)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	modules := filepath.Join(cache, "decom-test", "node-client-"+nodeClient)
	if _, err := os.Stat(filepath.Join(modules, "complete")); err != nil {
		fetchNodeClient(t, modules)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "publish.mjs"), []byte(read(t, "examples/publish.mjs")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fetchNodeClient(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts",
		"@nats-io/transport-node@"+nodeClient, "@nats-io/jetstream@"+nodeClient)
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("UNTESTED: publish.mjs, for npm could not fetch the official client: %v %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "complete"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts the example and returns its exit code and what it said.
func (e example) run(t *testing.T, dir, url string, env ...string) (code int, said string) {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.tool, append(e.args, host, port, "chu-nord", "desk", carrier)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("it does not end:\n%s", out)
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// carrier is a Data Matrix with its group separators, a quote and a backslash, which
// is what a careless JSON string breaks on.
const carrier = "]d20103400930000007217X4F8L2\x1d17281100\x1d10L\"\\42"

func TestExamplesPublishOneEventThatTheStreamHas(t *testing.T) {
	t.Parallel()
	server := queuetest.StartServer(t, queuetest.ServerConfig{})
	conn, err := queue.Connect(t.Context(), queue.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	empty := queuetest.StartServer(t, queuetest.ServerConfig{}) // JetStream, and no stream
	if _, err := conn.Setup(t.Context(), []queue.Account{{Name: "chu", Sites: []string{"chu-nord"}}}, false); err != nil {
		t.Fatal(err)
	}
	scans := conn.Scans("chu")
	schema := compiled(t, "event.schema.json")
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) { // one after another: they share the queue
			if _, err := exec.LookPath(e.tool); err != nil {
				t.Skipf("UNTESTED: %s, for %s is not on this machine", e.args[len(e.args)-1], e.tool)
			}
			dir := e.prepare(t)
			code, said := e.run(t, dir, server.URL)
			if code != 0 || !strings.HasPrefix(said, "stored: id ") {
				t.Fatalf("exit code %d, and it said:\n%s", code, said)
			}
			event, body := fetchOne(t, scans)
			if event.Scan != carrier || event.Op != scan.Supply || event.Source() != "chu-nord/desk" {
				t.Errorf("the stream has %+v", event)
			}
			if event.ID != event.MsgID || !strings.Contains(said, event.ID) {
				t.Errorf("id %q, Nats-Msg-Id %q, and it said: %s", event.ID, event.MsgID, said)
			}
			if d := event.Stored.Sub(event.At); !event.Timed() || d < -time.Second || d > time.Minute {
				t.Errorf("at is %v, stored %v", event.At, event.Stored)
			}
			if err := schema.Validate(value(t, body)); err != nil {
				t.Errorf("against event.schema.json: %v", err)
			}

			at := event.At.UTC().Format("2006-01-02T15:04:05.000Z")
			code, said = e.run(t, dir, server.URL, "ID="+event.ID, "AT="+at)
			if code != 0 {
				t.Fatalf("published again: exit code %d\n%s", code, said)
			}
			// Within the stream's window of 100 ms the server itself knows the id, and stores nothing.
			if !strings.Contains(strings.ReplaceAll(said, " ", ""), `"duplicate":true`) {
				again, _ := fetchOne(t, scans)
				if again.ID != event.ID || !again.At.Equal(event.At) || again.Key() != event.Key() {
					t.Errorf("published again it is another event: %q at %v, %q at %v", event.ID, event.At, again.ID, again.At)
				}
			}

			if code, said := e.run(t, dir, empty.URL); code == 0 || strings.Contains(said, "stored: id") {
				t.Errorf("no stream took it; exit code %d, and it said:\n%s", code, said)
			}
		})
	}
}

// fetchOne takes the next event off the queue, as a worker would.
func fetchOne(t *testing.T, scans *queue.Scans) (scan.Event, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ds, err := scans.Fetch(ctx, 1, 0, 0)
	if err != nil {
		t.Fatalf("nothing was stored: %v", err)
	}
	if err := queue.AckAll(ctx, ds); err != nil {
		t.Fatal(err)
	}
	event, err := scan.Decode(ds[0].Data(), ds[0].Meta())
	if err != nil {
		t.Fatalf("the stream has %s: %v", ds[0].Data(), err)
	}
	return event, ds[0].Data()
}

func value(t *testing.T, body []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}
