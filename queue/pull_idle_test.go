package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// An idle account asks each second. Its inbox must outlive that, and a scan that comes as a
// request ends must not wait until its acknowledgement is overdue.
func TestARequestThatBringsNothingKeepsItsInbox(t *testing.T) {
	t.Parallel()
	c := oneAccount(t)
	s := c.Scans("a")
	const wait = 150 * time.Millisecond
	inbox, empty, given := "", 0, 0
	for i := range 12 {
		published := make(chan error, 1)
		go func() { // from well before the end of the request to just after it
			time.Sleep(wait - pullMargin - 35*time.Millisecond + time.Duration(i)*8*time.Millisecond)
			_, err := c.PublishScan(context.WithoutCancel(t.Context()), "north", "d", fmt.Sprint("e", i), []byte("x"))
			published <- err
		}()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		ds, err := s.Fetch(ctx, 1+i%2, 0, 0)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*wait+time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 {
			empty++
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			ds, err = s.Fetch(ctx, 1, 0, 0)
			cancel()
			if err != nil {
				t.Fatalf("scan %d was not delivered: %v", i, err)
			}
		}
		if err := ds[0].Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		if inbox != "" && s.pull.inbox != inbox {
			given++
		}
		inbox = s.pull.inbox
	}
	if 2*given > empty { // on a busy machine the end of a request comes late, now and then
		t.Errorf("of %d requests that brought nothing %d gave up the inbox", empty, given)
	}
}
