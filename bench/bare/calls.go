package bare

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Calls makes Spec.Packs single calls, Spec.Parallel at once, and does nothing else: what HTTP,
// TLS and the simulator with its latency allow on this machine. It stops at the first error.
func Calls(ctx context.Context, s Spec) (Done, error) {
	c, err := s.client(s.Parallel)
	if err != nil {
		return Done{}, err
	}
	defer c.CloseIdleConnections()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	var next atomic.Int64
	began := time.Now()
	for range s.Parallel {
		group.Go(func() {
			var body []byte
			var answer bytes.Buffer
			for n := next.Add(1); n <= int64(s.Packs) && ctx.Err() == nil; n = next.Add(1) {
				body = appendSingle(body[:0], &s, n)
				err := post(ctx, c, s.Single, "urn:G120Supply", body, &answer)
				if err == nil && !bytes.Contains(answer.Bytes(), []byte("NMVS_SUCCESS")) {
					err = fmt.Errorf("%w: %.400s", errAnswer, answer.Bytes())
				}
				if err != nil {
					stop(err)
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return Done{}, context.Cause(ctx)
	}
	took := time.Since(began).Seconds()
	return Done{Packs: s.Packs, Took: took, Rate: float64(s.Packs) / took}, nil
}

// appendSingle writes the G120 request of the nth pack.
func appendSingle(b []byte, s *Spec, n int64) []byte {
	return fmt.Appendf(b, `<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" xmlns:m="urn:wsdltypes.nmvs.eu:v5.0" xmlns:t="urn:types.nmvs.eu:v5.0"><soap:Header/><soap:Body><m:G120Request><t:Header><t:Auth><t:ClientLoginId>%s</t:ClientLoginId><t:UserId>%s</t:UserId><t:Password>%s</t:Password></t:Auth><t:UserSoftware t:name="bare" t:supplier="decom" t:version="1.0"/><t:Transaction><t:ClientTrxId>CALLS%09d</t:ClientTrxId><t:Language>eng</t:Language></t:Transaction></t:Header><t:Body><t:Product><t:ProductCode t:scheme="GTIN">03400930000007</t:ProductCode><t:Batch><t:Id>LOT42</t:Id><t:ExpDate>281100</t:ExpDate></t:Batch></t:Product><t:Pack t:sn="CALLS%09d"/></t:Body></m:G120Request></soap:Body></soap:Envelope>`,
		s.Client, s.User, s.Password, n, n)
}
