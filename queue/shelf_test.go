package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"decom/queue"
)

func TestAShelfKeepsDocumentsAndTheOrderOfTheirNotes(t *testing.T) {
	t.Parallel()
	c := connect(t, lazy())
	if _, err := c.OpenShelf(t.Context(), false); !errors.Is(err, queue.ErrNotSetUp) {
		t.Fatalf("before the first document: %v", err)
	}
	s, err := c.OpenShelf(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenShelf(t.Context(), true); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	one, err := s.Append(t.Context(), "a", 0, []byte("one"))
	if err != nil || one.Doc != "a" || one.Seq == 0 || one.Time.IsZero() {
		t.Fatal(one, err)
	}
	if _, err := s.Append(t.Context(), "b", 0, []byte("of another")); err != nil {
		t.Fatal(err)
	}
	for name, prev := range map[string]uint64{"a document that has one": 0, "behind another document's note": one.Seq + 1} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := s.Append(ctx, "a", prev, []byte("lost")); !errors.Is(err, queue.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	// The answer to a publish that took effect was lost: the same bytes again are found.
	if again, err := s.Append(t.Context(), "a", 0, []byte("one")); err != nil || again.Seq != one.Seq || !again.Time.Equal(one.Time) {
		t.Errorf("the same note again: %+v %v", again, err)
	}
	if _, err := s.Append(t.Context(), "a", one.Seq, []byte("two")); err != nil {
		t.Fatal(err)
	}
	notes := func(doc string) (got string) {
		t.Helper()
		if err := s.Notes(t.Context(), doc, func(n queue.Note) error { got += n.Doc + ":" + string(n.Body) + " "; return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if a, all := notes("a"), notes(""); a != "a:one a:two " || all != "a:one b:of another a:two " {
		t.Errorf("%q, %q", a, all)
	}
	if none := notes("none"); none != "" {
		t.Errorf("%q", none)
	}
	var bodies [][]byte
	for i := range 1200 {
		bodies = append(bodies, fmt.Append(nil, i))
	}
	if err := s.Put(t.Context(), "a", "part", bodies); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := s.Part(t.Context(), "a", "part", func(b []byte) error {
		if string(b) != fmt.Sprint(n) {
			t.Errorf("body %d is %s", n, b)
		}
		n++
		return nil
	}); err != nil || n != 1200 {
		t.Error(n, err)
	}
	if err := errors.Join(s.Forget(t.Context(), "a", "part"), s.Part(t.Context(), "a", "part", func([]byte) error { return errors.New("still there") })); err != nil {
		t.Error(err)
	}
	if err := s.Forget(t.Context(), "a", "log"); err == nil || notes("a") == "" {
		t.Errorf("a log was forgotten: %v", err)
	}
	if _, err := s.Append(t.Context(), "a.b", 0, nil); err == nil {
		t.Error("a document named like a subject")
	}
}
