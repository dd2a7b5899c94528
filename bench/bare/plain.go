package bare

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// plain is the worker that the tutorials lead to: a goroutine a message, one key a pack
// in Redis that says "done", a retry when a call fails.
type plain struct {
	spec Spec
	js   jetstream.JetStream
	rdb  *redis.Client
	http *http.Client

	mu          sync.Mutex // guards the rest
	packs       int
	first, last time.Time
}

// plainRetry is when a failed scan comes again; plainAckWait when one in the hands of a
// killed process does. Short, so that a measurement ends.
const (
	plainRetry   = time.Second
	plainAckWait = 5 * time.Second
)

// Plain works off scans until Spec.Packs outcomes are published by this process, or ctx ends.
func Plain(ctx context.Context, s Spec) (Done, error) {
	nc, err := nats.Connect(s.NATS)
	if err != nil {
		return Done{}, err
	}
	defer nc.Close()
	w := &plain{spec: s}
	if w.js, err = jetstream.New(nc); err != nil {
		return Done{}, err
	}
	opt, err := redis.ParseURL(s.Redis)
	if err != nil {
		return Done{}, err
	}
	w.rdb = redis.NewClient(opt)
	defer w.rdb.Close()
	if w.http, err = s.client(s.Parallel); err != nil {
		return Done{}, err
	}
	cons, err := w.js.CreateOrUpdateConsumer(ctx, "DECOM_SCANS", jetstream.ConsumerConfig{Durable: "plain",
		FilterSubject: "decom.scan." + s.Site + ".>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: plainAckWait})
	if err != nil {
		return Done{}, err
	}
	began := time.Now()
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, s.Parallel) // calls at once
	for w.done() < s.Packs && ctx.Err() == nil {
		batch, err := cons.Fetch(s.Parallel, jetstream.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			return Done{}, err
		}
		for m := range batch.Messages() {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				if err := w.one(ctx, m); err != nil {
					_ = m.NakWithDelay(plainRetry) // ack expiry brings it again otherwise
				}
			})
		}
	}
	group.Wait()
	d := Done{Packs: w.packs, Took: time.Since(began).Seconds()}
	if span := w.last.Sub(w.first); span > 0 {
		d.Rate = float64(w.packs-1) / span.Seconds()
	}
	return d, nil
}

func (w *plain) done() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.packs
}

// envelope is the request as encoding/xml writes it.
type envelope struct {
	XMLName xml.Name `xml:"http://www.w3.org/2003/05/soap-envelope Envelope"`
	Body    struct {
		Request request `xml:"urn:wsdltypes.nmvs.eu:v5.0 G120Request"`
	} `xml:"http://www.w3.org/2003/05/soap-envelope Body"`
}

type request struct {
	Header struct {
		Auth struct {
			ClientLoginId, UserId, Password string
		}
		UserSoftware struct {
			Name     string `xml:"urn:types.nmvs.eu:v5.0 name,attr"`
			Supplier string `xml:"urn:types.nmvs.eu:v5.0 supplier,attr"`
			Version  string `xml:"urn:types.nmvs.eu:v5.0 version,attr"`
		}
		Transaction struct {
			ClientTrxId, Language string
		}
	} `xml:"urn:types.nmvs.eu:v5.0 Header"`
	Body struct {
		Product struct {
			ProductCode struct {
				Scheme string `xml:"urn:types.nmvs.eu:v5.0 scheme,attr"`
				Code   string `xml:",chardata"`
			}
			Batch struct{ Id, ExpDate string }
		}
		Pack struct {
			SN string `xml:"urn:types.nmvs.eu:v5.0 sn,attr"`
		}
	} `xml:"urn:types.nmvs.eu:v5.0 Body"`
}

// reply is what is read of an answer.
type reply struct {
	Code struct {
		Code string `xml:"code,attr"`
	} `xml:"Body>G120Response>Body>ReturnCode"`
}

func (w *plain) one(ctx context.Context, m jetstream.Msg) error {
	var e struct{ ID, Scan string }
	if err := json.Unmarshal(m.Data(), &e); err != nil {
		return err
	}
	p, ok := cut(e.Scan)
	if !ok {
		return errors.New("not a scan of bench")
	}
	key, result := "pack:"+p.code+":"+p.serial, "done"
	switch _, err := w.rdb.Get(ctx, key).Result(); {
	case err == nil:
		result = "duplicate"
	case !errors.Is(err, redis.Nil):
		return err
	default:
		code, err := w.call(ctx, p)
		if err != nil {
			return err
		}
		if code != "NMVS_SUCCESS" {
			result = "alert"
		}
		if err := w.rdb.Set(ctx, key, result, 0).Err(); err != nil {
			return err
		}
	}
	token := strings.Split(m.Subject(), ".")
	out, err := json.Marshal(map[string]string{"event_id": e.ID, "result": result})
	if err != nil {
		return err
	}
	if _, err := w.js.Publish(ctx, "decom.outcome."+token[2]+"."+token[3], out, jetstream.WithMsgID(e.ID)); err != nil {
		return err
	}
	if err := m.Ack(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packs++
	w.last = time.Now()
	if w.first.IsZero() {
		w.first = w.last
	}
	return nil
}

// call decommissions one pack and returns NMVS's code.
func (w *plain) call(ctx context.Context, p pack) (string, error) {
	var env envelope
	r := &env.Body.Request
	r.Header.Auth.ClientLoginId, r.Header.Auth.UserId, r.Header.Auth.Password = w.spec.Client, w.spec.User, w.spec.Password
	r.Header.UserSoftware.Name, r.Header.UserSoftware.Supplier, r.Header.UserSoftware.Version = "plain", "nobody", "1"
	r.Header.Transaction.ClientTrxId, r.Header.Transaction.Language = fmt.Sprintf("P%025X", rand.Uint64()), "eng"
	r.Body.Product.ProductCode.Scheme, r.Body.Product.ProductCode.Code = "GTIN", p.code
	r.Body.Product.Batch.Id, r.Body.Product.Batch.ExpDate = p.batch, p.expiry
	r.Body.Pack.SN = p.serial
	body, err := xml.Marshal(env)
	if err != nil {
		return "", err
	}
	var answer bytes.Buffer
	if err := post(ctx, w.http, w.spec.Single, "urn:G120Supply", body, &answer); err != nil {
		return "", err
	}
	var rep reply
	if err := xml.Unmarshal(answer.Bytes(), &rep); err != nil {
		return "", err
	}
	return rep.Code.Code, nil
}
