package bare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// claim is the one script of a batch: every pack's value, in one call.
var claim = redis.NewScript(`for i=1,#ARGV,2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i+1]) end return #ARGV/2`)

// lean is the bare pipeline under way.
type lean struct {
	spec Spec
	js   jetstream.JetStream
	rdb  *redis.Client
	http *http.Client

	mu          sync.Mutex // guards the rest
	packs       int
	first, last time.Time
	firstBatch  int
}

// Lean works off the scans with one worker a subject: fetch a batch ahead of need, one
// script, one mixed bulk, one ledger record, one ack for all. It stops at the first error.
func Lean(ctx context.Context, s Spec) (Done, error) {
	nc, err := nats.Connect(s.NATS)
	if err != nil {
		return Done{}, err
	}
	defer nc.Close()
	l := &lean{spec: s}
	if l.js, err = jetstream.New(nc); err != nil {
		return Done{}, err
	}
	opt, err := redis.ParseURL(s.Redis)
	if err != nil {
		return Done{}, err
	}
	l.rdb = redis.NewClient(opt)
	defer l.rdb.Close()
	if l.http, err = s.client(len(s.Subjects)); err != nil {
		return Done{}, err
	}
	if _, err = l.js.CreateStream(ctx, jetstream.StreamConfig{Name: "BARE_LEDGER", Subjects: []string{"bare.ledger"}, Storage: jetstream.FileStorage}); err != nil {
		return Done{}, err
	}
	if err := claim.Load(ctx, l.rdb).Err(); err != nil {
		return Done{}, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	began := time.Now()
	for i := range s.Subjects {
		group.Go(func() {
			if err := l.work(ctx, i); err != nil {
				stop(err)
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return Done{}, context.Cause(ctx)
	}
	done := Done{Packs: l.packs, Took: time.Since(began).Seconds()}
	if d := l.last.Sub(l.first); d > 0 {
		done.Rate = float64(l.packs-l.firstBatch) / d.Seconds()
	} else {
		done.Rate = float64(l.packs) / done.Took
	}
	return done, nil
}

func (l *lean) work(ctx context.Context, i int) error {
	s := &l.spec
	cons, err := l.js.CreateConsumer(ctx, "DECOM_SCANS", jetstream.ConsumerConfig{Durable: fmt.Sprintf("bare-%d", i),
		FilterSubject: s.Subjects[i], AckPolicy: jetstream.AckAllPolicy, MaxAckPending: 8 * s.Batch})
	if err != nil {
		return err
	}
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	left := int(info.NumPending)
	in, err := cons.Messages(jetstream.PullMaxMessages(4 * s.Batch))
	if err != nil {
		return err
	}
	defer in.Stop()
	w := &leanWorker{lean: l, name: fmt.Sprintf("L%dX", i)}
	for left > 0 {
		n := min(left, s.Batch)
		msgs := make([]jetstream.Msg, 0, n)
		for range n {
			m, err := in.Next(jetstream.NextContext(ctx))
			if err != nil {
				return err
			}
			msgs = append(msgs, m)
		}
		left -= n
		if err := w.batch(ctx, msgs, left == 0); err != nil {
			return err
		}
	}
	return nil
}

// leanWorker owns its buffers.
type leanWorker struct {
	*lean
	name    string
	batches int
	body    []byte
	record  []byte
	answer  bytes.Buffer
	args    []any
}

func (w *leanWorker) batch(ctx context.Context, msgs []jetstream.Msg, last bool) error {
	w.batches++
	trx := fmt.Sprintf("%s%09d", w.name, w.batches)
	w.body = openMixed(w.body[:0], &w.spec, trx)
	w.record, w.args = append(w.record[:0], `{"v":1,"packs":[`...), w.args[:0]
	var e struct {
		Scan string `json:"scan"`
	}
	for i, m := range msgs {
		e.Scan = scanField(m.Data())
		if e.Scan == "" {
			if err := json.Unmarshal(m.Data(), &e); err != nil {
				return err
			}
		}
		p, ok := cut(e.Scan)
		if !ok {
			return fmt.Errorf("scan %q is not one of bench", e.Scan)
		}
		w.body = appendItem(w.body, p, trx, i)
		w.record = append(append(append(w.record, `{"s":"`...), p.serial...), `"},`...)
		w.args = append(w.args, p.serial, "S123456789")
	}
	w.body = append(w.body, closeMixed...)
	if err := claim.Run(ctx, w.rdb, []string{"bare:" + w.name}, w.args...).Err(); err != nil {
		return err
	}
	if err := post(ctx, w.http, w.spec.Mixed, "urn:G195SubmitBulkTransaction", w.body, &w.answer); err != nil {
		return err
	}
	if !bytes.Contains(w.answer.Bytes(), []byte("NMVS_SUCCESS")) {
		return fmt.Errorf("%w: %.400s", errAnswer, w.answer.Bytes())
	}
	if _, err := w.js.Publish(ctx, "bare.ledger", w.record); err != nil {
		return err
	}
	end := msgs[len(msgs)-1]
	if last { // acks travel in order: this one's answer says that all have arrived
		if err := end.DoubleAck(ctx); err != nil {
			return err
		}
	} else if err := end.Ack(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packs += len(msgs)
	w.last = time.Now()
	if w.first.IsZero() {
		w.first, w.firstBatch = w.last, len(msgs)
	}
	return nil
}

var scanKey = []byte(`"scan":"`)

// scanField finds the scan's text without a JSON reader; the bench writes its group
// separators as \u001d.
func scanField(body []byte) string {
	_, rest, ok := bytes.Cut(body, scanKey)
	text, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		return ""
	}
	return string(bytes.ReplaceAll(text, []byte(`\u001d`), []byte{0x1d}))
}

// openMixed begins a G195 request, appendItem adds a supply to it.
func openMixed(b []byte, s *Spec, trx string) []byte {
	return fmt.Appendf(b, `<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" xmlns:m="urn:wsdltypes.nmvs.eu:v5.0" xmlns:t="urn:types.nmvs.eu:v5.0"><soap:Header/><soap:Body><m:G195Request><t:Header><t:Auth><t:ClientLoginId>%s</t:ClientLoginId><t:UserId>%s</t:UserId><t:Password>%s</t:Password></t:Auth><t:UserSoftware t:name="bare" t:supplier="decom" t:version="1.0"/><t:Transaction><t:ClientTrxId>%s</t:ClientTrxId><t:Language>eng</t:Language></t:Transaction></t:Header><t:Body><t:TrxList>`,
		s.Client, s.User, s.Password, trx)
}

const closeMixed = `</t:TrxList></t:Body></m:G195Request></soap:Body></soap:Envelope>`

func appendItem(b []byte, p pack, trx string, i int) []byte {
	b = append(b, `<t:TrxItem><t:Item t:reqType="G120"><t:Product><t:ProductCode t:scheme="GTIN">`...)
	b = append(b, p.code...)
	b = append(b, `</t:ProductCode><t:Batch><t:Id>`...)
	b = append(b, p.batch...)
	b = append(b, `</t:Id><t:ExpDate>`...)
	b = append(b, p.expiry...)
	b = append(b, `</t:ExpDate></t:Batch></t:Product><t:Pack t:sn="`...)
	b = append(b, p.serial...)
	b = append(b, `"/><t:Transaction><t:ClientTrxId>`...)
	b = append(b, trx...)
	b = append(b, 'I', byte('0'+i/100%10), byte('0'+i/10%10), byte('0'+i%10))
	return append(b, `</t:ClientTrxId><t:Language>eng</t:Language></t:Transaction></t:Item></t:TrxItem>`...)
}
