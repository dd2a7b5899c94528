package queue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The protocol of atomic batches (nats-server 2.12, ADR-50): all messages of a batch are
// stored, with one sync of the disk, or none. Under `sync_interval: always` that is what
// keeps one outcome a message from costing one sync each (limits.md section 2).
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"

	batchMin = 8    // fewer are as fast one by one
	batchMax = 1000 // the server's limit

	// batchIDLen keeps batches of one stream that are open at once apart: 60 random bits. The
	// server looks through the header several times a message.
	batchIDLen = 12
)

// publishMany stores msgs in order, in atomic batches where that works.
func (c *Conn) publishMany(ctx context.Context, stream string, msgs []*nats.Msg) ([]Ack, error) {
	acks := make([]Ack, 0, len(msgs))
	for len(msgs) > 0 {
		n := min(len(msgs), batchMax)
		if n >= batchMin {
			if got, ok := c.publishBatch(ctx, msgs[:n]); ok {
				acks, msgs = append(acks, got...), msgs[n:]
				continue
			}
		}
		got, err := c.publishAll(ctx, stream, msgs[:n])
		acks, msgs = append(acks, got...), msgs[n:]
		if err != nil {
			return append(acks, make([]Ack, len(msgs))...), err
		}
	}
	return acks, nil
}

// publishBatch stores msgs as one atomic batch. false: it was refused, or its answer is
// lost; msgs then have to be published one by one, which finds out: their ids say
// whether they are there already.
func (c *Conn) publishBatch(ctx context.Context, msgs []*nats.Msg) (acks []Ack, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AnswerWait)
	defer cancel()
	id := rand.Text()[:batchIDLen]
	numbers := make([]string, len(msgs)) // one block for all header values
	defer func() {
		for i := 0; !ok && i < len(msgs); i++ { // as they were, to go one by one
			delete(msgs[i].Header, headerBatchID)
			delete(msgs[i].Header, headerBatchSeq)
			delete(msgs[i].Header, headerBatchCommit)
		}
	}()
	ids := []string{id}
	for i, m := range msgs {
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		numbers[i] = strconv.Itoa(i + 1)
		m.Header[headerBatchID] = ids
		m.Header[headerBatchSeq] = numbers[i : i+1 : i+1]
		if i < len(msgs)-1 {
			if err := c.nc.PublishMsg(m); err != nil {
				return nil, false
			}
			continue
		}
		m.Header[headerBatchCommit] = []string{"1"}
		answer, err := c.nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return nil, false
		}
		last, err := committed(answer.Data, id, len(msgs))
		if err != nil {
			return nil, false
		}
		acks = make([]Ack, len(msgs))
		for j := range acks {
			acks[j].Seq = last - uint64(len(msgs)-1-j)
		}
		return acks, true
	}
	return nil, false
}

// committed reads the answer to a commit: the sequence of the batch's last message.
func committed(data []byte, id string, count int) (uint64, error) {
	var a struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
		Batch string              `json:"batch"`
		Count int                 `json:"count"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return 0, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	if a.Error != nil {
		return 0, a.Error
	}
	if a.Batch != id || a.Count != count || a.Seq < uint64(count) {
		return 0, fmt.Errorf("the server committed batch %q of %d messages at %d, not %q of %d", a.Batch, a.Count, a.Seq, id, count)
	}
	return a.Seq, nil
}
