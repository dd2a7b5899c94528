package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/worker/scan"
)

// memoryChild makes this test binary play the client: DIR of the simulator's certificates.
const memoryChild = "DECOM_BENCH_MEMORY_CHILD"

// TestHundredThousandPacksInOneMixedBulkFitIn200MiB sends, polls and matches the largest
// bulk that the schema allows, in a process of its own whose peak memory is read.
func TestHundredThousandPacksInOneMixedBulkFitIn200MiB(t *testing.T) {
	if url := os.Getenv(memoryChild); url != "" {
		sendHundredThousand(t, url)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("peak memory of a process is read from /proc, which Linux has")
	}
	s, err := sim.New(sim.Config{Accounts: []sim.Account{{ClientLoginID: "BENCH-1", UserID: "robot01", Password: "Bench-Pass-1"}},
		Settings: sim.Settings{AutoStock: sim.AutoStock{On: true}}})
	if err != nil {
		t.Fatal(err)
	}
	urls, stop, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stop() }()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), memoryChild+"="+urls[nmvs.Mixed], "GOMEMLIMIT=128MiB") // as decom run sets it
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("client: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("the client did not tell its peak memory:\n%s", out)
	}
	kb, _ := strconv.Atoi(string(m[1]))
	t.Logf("peak memory of the client process: %d MiB", kb>>10)
	if limit := 200; kb>>10 >= limit && !raceEnabled {
		t.Errorf("peak memory %d MiB, the limit is %d MiB", kb>>10, limit)
	}
	if n := len(s.Ledger()); n < 2 {
		t.Errorf("the simulator saw %d calls", n)
	}
}

const hundredThousand = 100_000

func sendHundredThousand(t *testing.T, url string) {
	c, err := nmvs.New(nmvs.Config{Endpoints: map[nmvs.Service]string{nmvs.Mixed: url}, Version: 5,
		Credentials: nmvs.Credentials{ClientLoginID: "BENCH-1", UserID: "robot01", Password: "Bench-Pass-1"}})
	if err != nil {
		t.Fatal(err)
	}
	call := nmvs.Call{C: nmvs.NewTrxID(), Service: nmvs.Mixed, Packs: make([]nmvs.Pack, hundredThousand)}
	for i := range call.Packs {
		call.Packs[i] = nmvs.Pack{Serial: fmt.Sprintf("M%09d", i), C: nmvs.NewTrxID(), Op: scan.Supply,
			Product: nmvs.Product{Scheme: scan.GTIN, Code: gtin(i % 20), Batch: "LOT1", Expiry: "291100"}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ans, err := c.Do(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	call.Act, call.C, call.Tx = nmvs.ActPoll, nmvs.NewTrxID(), ans.Tx
	for ans, err = c.Do(ctx, call); err == nil && ans.Class == nmvs.NotReady; ans, err = c.Do(ctx, call) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for i := range ans.Packs {
		if ans.Packs[i].Class == nmvs.Success {
			done++
		}
	}
	if done != hundredThousand {
		t.Fatalf("%d of %d packs done", done, hundredThousand)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(regexp.MustCompile(`VmHWM:.*`).Find(status)))
}
