package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"decom/queue/doors"
	"decom/queue/queuetest"
)

const consolidatedSenders = `consolidated:
  senders:
    - {name: alloga, identifiers: ["3012345000017"]}
    - {name: careful, sample: 1}
`

const sscc1, sscc2 = "034009300000000014", "034009300000000021"

func deliveryCSV() string {
	var b strings.Builder
	b.WriteString("gtin;série;lot;péremption;sscc;bl\r\n")
	for i := range 10 {
		box := sscc1
		if i >= 6 {
			box = sscc2
		}
		fmt.Fprintf(&b, "03400930000007;SN%04d;LOT42;281100;%s;BL-7\r\n", i, box)
	}
	b.WriteString("3400930000007;SN9999;LOT42;281100;" + sscc2 + ";BL-7\r\n")      // line 12
	b.WriteString("03400930000008;SN9998;LOT42;281100;" + sscc2 + ";BL-7\r\n")     // the worker's own judgement
	b.WriteString("03401930000004;SN9997;LOT42;281100;" + sscc2 + ";BL-7\r\n")     // no medicine
	b.WriteString("03400930000007;SN9996;LOT42;30/11/2028;" + sscc2 + ";BL-7\r\n") // line 15
	return b.String()
}

func carrierOf(serial string) string {
	return string(doors.Encode("]d20103400930000007" + "21" + serial + "\x1d17281100" + "10LOT42"))
}

func TestConsolidatedCodesFromFileToSheet(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "decom.yaml", "nats: {url: "+queuetest.Server(t)+"}\n"+minimal+consolidatedSenders)
	file := write(t, dir, "delivery.csv", deliveryCSV())
	run := func(code int, stdin string, args ...string) result {
		t.Helper()
		r := inProcess(t, nil, stdin, append(append([]string{"consolidated"}, args...), "--config", config)...)
		if r.code != code {
			t.Fatalf("%v: code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		return r
	}
	has := func(r result, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(r.stdout+r.stderr, p) {
				t.Errorf("no %q in\n%s%s", p, r.stdout, r.stderr)
			}
		}
	}
	if r := inProcess(t, nil, "", "setup", "--config", config); r.code != 0 {
		t.Fatal(r)
	}
	has(run(1, "", "ls"), "no file of consolidated codes was added yet")
	add := []string{"add", file, "--site", "nord", "--sender", "alloga", "--who", "anne"}
	has(run(2, "", "add", file, "--sender", "alloga"), "--site")
	has(run(1, "", "add", file, "--site", "nord", "--sender", "nobody"), "consolidated.senders")
	has(run(1, "", "add", file, "--site", "nord", "--sender", "nobody", "--lang", "fr"), "n'est pas dans la liste")
	has(run(0, "", add...), "14 packs declared, 10 held, 4 rows refused", "row 12: refused: zeros_lost", "row 13: refused: check_digit",
		"row 14: refused: not_a_pack", "row 15: refused: date_format")
	has(run(0, "", add...), "there already since", "nothing was done")
	has(run(0, "", append(add, "--lang", "fr")...), "rien n'a été fait")

	var f fileJSON
	if err := json.Unmarshal([]byte(run(0, "", "ls", "--json").stdout), &f); err != nil || f.Declared != 14 || f.Refused != 4 || f.Sender != "alloga" {
		t.Fatalf("%+v %v", f, err)
	}
	id := f.ID[:8]
	has(run(0, "", "ls"), id, "alloga", "delivery.csv")

	// The first case is counted before it is received: one is missing, one too many.
	var count strings.Builder
	for i := range 5 {
		count.WriteString(carrierOf(fmt.Sprintf("SN%04d", i)) + "\n")
	}
	has(run(1, "]D2x\n", "sample", id, "--who", "anne"), "line 1: Upper and lower case", "nothing is noted")
	has(run(0, count.String()+carrierOf("STRANGER")+"\n", "sample", id, "--of", "]C100"+sscc1, "--who", "anne"), "5 packs as listed", "1 missing, 1 too many", "STRANGER")

	has(run(2, "", "receive", "BL-7"), "--who")
	has(run(1, "", "receive", "BL-8", "--who", "anne"), "no file lists BL-8")
	has(run(0, "", "receive", "(00)"+sscc1, "--who", "anne"), "5 published", "4 not received yet", "1 missing")
	has(run(0, "", "receive", sscc1, "--who", "anne"), "received before", "5 published")
	has(run(0, "", "receive", "BL-7", "--who", "anne", "--json"), `"already":false`, `"released":9`)
	has(run(0, "", "show", id), "received  "+sscc1+"  anne", "row 12")
	has(run(0, "", "report", id), "Declared                 14", "rows refused            4", "Published                 9", "no outcome yet          9", "Too many                  1", "The sheet adds up.")
	has(run(0, "", "report", id, "--lang", "fr"), "Le bordereau tombe juste.")
	has(run(0, "", "report", id, "--json"), `"adds_up":true`, `"pending":9`)
	has(run(1, "", "show", "ffffffff"), "there is no such file")

	has(run(2, "", "drop", id), "--who")
	has(run(0, "", "open", id, sscc2, "--who", "anne", "--why", "torn"), "noted as opened")
	has(run(0, "", "drop", id, "--who", "anne", "--why", "end"), "dropped")
	has(run(1, "", "receive", "BL-7", "--who", "anne"), "no file lists BL-7")
	has(run(1, "", "receive", "BL-7", "--file", id, "--who", "anne", "--lang", "fr"), "a été écarté")
}

func TestConsolidatedSettingsAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"consolidated:\n  senders:\n    - {name: a b}\n":                           `consolidated.senders.0.name: "a b" must be`,
		"consolidated:\n  senders:\n    - {name: a}\n    - {name: a}\n":            `consolidated.senders.1.name: "a" is consolidated.senders.0 already`,
		"consolidated:\n  senders:\n    - {name: a, expiry: monthend}\n":           `"monthend" is not hold, exact or month_end, did you mean month_end?`,
		"consolidated:\n  senders:\n    - {name: a, sample: -1}\n":                 `consolidated.senders.0.sample: -1: must be 0 to 1000`,
		"consolidated:\n  senders:\n    - {name: a, expirey: hold}\n":              `unknown key, did you mean expiry?`,
		"consolidated:\n  senders:\n    - {name: a, identifiers: 3012345000017}\n": `consolidated.senders.0.identifiers`,
	} {
		r := inProcess(t, nil, "", "config", "check", "--config", write(t, t.TempDir(), "decom.yaml", minimal+text))
		if r.code != exitConfig || !strings.Contains(r.stderr+r.stdout, want) {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

func TestAScannedLabelIsReceivedByWatch(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "decom.yaml", "nats: {url: "+queuetest.Server(t)+"}\n"+minimal+consolidatedSenders)
	file := write(t, dir, "delivery.csv", deliveryCSV())
	label := write(t, dir, "label.txt", "]C100"+sscc1+"\n")
	for _, args := range [][]string{{"setup"}, {"consolidated", "add", file, "--site", "nord", "--sender", "alloga"}, {"publish", label, "--site", "nord", "--device", "dock"}} {
		if r := inProcess(t, nil, "", append(args, "--config", config)...); r.code != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
	}
	var out, errs syncBuffer
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int)
	go func() {
		done <- execute(ctx, &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, []string{"consolidated", "watch", "--device", "dock", "--json", "--config", config})
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), `"ref":"`+sscc1+`"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing received: %s%s", &out, &errs)
		}
	}
	cancel(stopped{os.Interrupt})
	if code := <-done; code != 0 || !strings.Contains(out.String(), `"released":6`) {
		t.Errorf("code %d: %s%s", code, &out, &errs)
	}
}
