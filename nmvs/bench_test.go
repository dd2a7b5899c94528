package nmvs

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"decom/worker/scan"
)

func BenchmarkEncode(b *testing.B) {
	c := demoClient(b, 5)
	for name, call := range map[string]Call{
		"single": supplyA, "bulk-500": with(bulkB, func(c *Call) { c.Packs = manyPacks(500) }),
		"bulk-100000": with(bulkB, func(c *Call) { c.Packs = manyPacks(MaxPacks) }), "mixed-500": manyItems(500),
	} {
		op, err := c.operation(&call)
		check(b, err)
		b.Run(name, func(b *testing.B) {
			var buf []byte
			for b.Loop() {
				if buf, err = c.render(buf[:0], &call, op, secrets{password: "x"}); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(call.Packs)), "ns/pack")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	c := demoClient(b, 5)
	bulk, doc := bulkOf(b, 500)
	mixed := manyItems(500)
	for name, tc := range map[string]struct {
		call Call
		doc  string
	}{"mixed-500": {poll(mixed, pollC.C, pollC.Tx), mixedResultOf(b, mixed)}, "single": {supplyA, golden(b, "g120.success.reply", 5)}, "bulk-500": {bulk, doc}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				a, err := answer(b, c, tc.call, tc.doc)
				if n := len(tc.call.Packs); err != nil || n > 1 && len(a.Packs) != n {
					b.Fatal(len(a.Packs), err)
				}
			}
			b.SetBytes(int64(len(tc.doc)))
			b.ReportAllocs()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(tc.call.Packs)), "ns/pack")
		})
	}
}

// manyItems is a mixed submit of n packs of one product.
func manyItems(n int) Call {
	call := with(mixedC, func(c *Call) { c.Packs = manyPacks(n) })
	for i := range call.Packs {
		p := &call.Packs[i]
		p.C, p.Op, p.Product = fmt.Sprintf("01J8Z5M2P4Q6R8S0T2V4%06d", i), scan.Supply, productB
	}
	return call
}

// mixedResultOf is the result of a mixed submit: all supplied, each item as the golden one.
func mixedResultOf(t testing.TB, call Call) string {
	t.Helper()
	golden := golden(t, "g196.result.reply", 5)
	from := strings.Index(golden, "<ns1:TrxItem")
	to := strings.Index(golden, "</ns1:TrxItem>") + len("</ns1:TrxItem>")
	end := strings.LastIndex(golden, "</ns1:TrxItem>") + len("</ns1:TrxItem>")
	first := mixedC.Packs[0]
	var s strings.Builder
	for i := range call.Packs {
		p := &call.Packs[i]
		s.WriteString(strings.NewReplacer(first.C, p.C, "Zk&lt;7aQ0002", p.Serial, productA.Code, p.Product.Code).Replace(golden[from:to]))
	}
	return golden[:from] + s.String() + golden[end:]
}

// bulkOf returns a poll for n packs and its result, all supplied.
func bulkOf(t testing.TB, n int) (Call, string) {
	t.Helper()
	call := with(pollB, func(c *Call) { c.Packs = manyPacks(n) })
	ok := golden(t, "g188.result.reply", 5)
	before, _, _ := strings.Cut(ok, "<ns1:Pack ")
	to := strings.Index(ok, "</ns1:Packs>")
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `<ns1:Pack ns1:sn="SN%012d" ns1:state="INACTIVE"><ns1:Reason>SUPPLIED</ns1:Reason><ns1:ReturnCode ns1:code="NMVS_SUCCESS"/></ns1:Pack>`, i)
	}
	return call, before + s.String() + ok[to:]
}

func TestALargeBulkResultIsReadWhole(t *testing.T) {
	call, doc := bulkOf(t, 5000)
	a, err := answer(t, demoClient(t, 5), call, doc)
	if err != nil || len(a.Packs) != 5000 || a.Absent != 0 || a.Packs[4999].Class != Success || a.Packs[4999].I != 4999 {
		t.Errorf("%d packs, %v", len(a.Packs), err)
	}
}

// results builds the result of a poll whose packs stand in the given order.
func results(t testing.TB, n int, place func(i int) int) (Call, string) {
	t.Helper()
	call, _ := bulkOf(t, n)
	packs := call.Packs
	ordered := with(call, func(c *Call) { c.Packs = make([]Pack, n) })
	for i := range packs {
		ordered.Packs[place(i)] = packs[i]
	}
	_, doc := bulkOf(t, n)
	return ordered, doc
}

func TestABulkResultIsReadWithoutAnAllocationPerPack(t *testing.T) {
	const n = 2000
	c := demoClient(t, 5)
	for name, place := range map[string]func(i int) int{
		"in order":  func(i int) int { return i },
		"backwards": func(i int) int { return n - 1 - i },
		"jumbled":   func(i int) int { return i * 7 % n },
	} {
		call, doc := results(t, n, place)
		op, err := c.operation(&call)
		check(t, err)
		in := strings.NewReader("")
		allocs := testing.AllocsPerRun(5, func() {
			in.Reset(doc)
			r, err := decode(in, 5, op.Code, &call)
			check(t, err)
			a, err := c.judge(&call, op, r)
			if check(t, err); len(a.Packs) != n || a.Stray != 0 {
				t.Fatalf("%s: %d packs, %d stray", name, len(a.Packs), a.Stray)
			}
		})
		if allocs > n/20 {
			t.Errorf("%s: %.0f allocations for %d packs", name, allocs, n)
		}
	}
}

// BenchmarkScanner reads the tokens of a result of 500 packs, without a meaning.
func BenchmarkScanner(b *testing.B) {
	_, doc := bulkOf(b, 500)
	s, in := new(scanner), strings.NewReader("")
	for b.Loop() {
		in.Reset(doc)
		s.reset(in)
		var err error
		for err == nil {
			_, err = s.next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
}
