package queue_test

import (
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
)

// Records of other accounts lie in the same stream: a time must not find one of those.
func TestSinceFindsTheAccountsOwnFirstRecord(t *testing.T) {
	c, err := queue.Connect(t.Context(), queue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Setup(t.Context(), []queue.Account{{Name: "a", Sites: []string{"s1"}}, {Name: "b", Sites: []string{"s2"}}}, false); err != nil {
		t.Fatal(err)
	}
	a, b := c.Ledger("a"), c.Ledger("b")
	start := time.Now().Add(-time.Second)
	if _, found, err := a.Since(t.Context(), start); err != nil || found {
		t.Fatalf("an empty ledger has a first record: %t, %v", found, err)
	}
	if _, err := b.Append(t.Context(), ledger.Head{}, []byte("b1")); err != nil {
		t.Fatal(err)
	}
	first, err := a.Append(t.Context(), ledger.Head{}, []byte("a1"))
	if err != nil {
		t.Fatal(err)
	}
	if seq, found, err := a.Since(t.Context(), start); err != nil || !found || seq != first.Seq {
		t.Errorf("since the start: %d, %t, %v; want %d", seq, found, err, first.Seq)
	}
	if _, found, err := a.Since(t.Context(), time.Now().Add(time.Hour)); err != nil || found {
		t.Errorf("a record of the future was found: %t, %v", found, err)
	}
}
