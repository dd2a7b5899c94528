package queuetest_test

import (
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
)

func TestBrokerKeepsThePromisesOfTheQueue(t *testing.T) {
	t.Parallel()
	queuetest.Suite(t, func(t *testing.T, ackWait time.Duration, accounts []queue.Account) (one, two queuetest.Line) {
		b := queuetest.NewBroker(t, accounts...)
		b.AckWait, b.Lenient = ackWait, true
		return b.Conn().Line(), b.Conn().Line()
	})
}
