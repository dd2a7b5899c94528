package queue_test

import (
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
)

func TestJetStreamKeepsThePromisesOfTheQueue(t *testing.T) {
	t.Parallel()
	queuetest.Suite(t, func(t *testing.T, ackWait time.Duration, accounts []queue.Account) (one, two queuetest.Line) {
		first := connect(t, queue.Config{AckWait: ackWait, Listen: "127.0.0.1:0", Lazy: true})
		if _, err := first.Setup(t.Context(), accounts, false); err != nil {
			t.Fatal(err)
		}
		return queuetest.RealLine(first), queuetest.RealLine(connect(t, queue.Config{URL: first.URL()}))
	})
}
