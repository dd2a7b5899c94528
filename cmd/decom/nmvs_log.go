package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"time"

	"decom/nmvs"
)

// nmvsLog tells when NMVS goes and when it comes back, once each, whatever the breaker
// does in between: it opens again after every ping that fails.
type nmvsLog struct {
	log *slog.Logger // names the account

	mu    sync.Mutex
	down  map[nmvs.Service]time.Time // guarded by mu: since when, of what was told
	login bool                       // guarded by mu: the refusal was told
}

func newNMVSLog(log *slog.Logger, account string) *nmvsLog {
	return &nmvsLog{log: log.With("account", account), down: map[nmvs.Service]time.Time{}}
}

// changed is told every change of a breaker.
func (l *nmvsLog) changed(svc nmvs.Service, s nmvs.BreakerStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Debug("circuit breaker", "service", svc.String(), "state", string(s.State), "login", s.Login, "cause", s.Cause)
	switch {
	case s.Login:
		l.refused(s)
	case s.State == nmvs.BreakerClosed:
		l.back(svc)
	case s.State == nmvs.BreakerOpen:
		l.gone(svc, s.Cause)
	}
}

// refused tells a login failure once for the account, not for each service.
func (l *nmvsLog) refused(s nmvs.BreakerStatus) {
	switch {
	case s.State == nmvs.BreakerOpen && !l.login:
		l.login = true
		l.log.Error("NMVS refuses the login: nothing is sent for this account until its password or certificate file changes", "cause", s.Cause)
	case s.State == nmvs.BreakerHalfOpen && l.login:
		l.login = false
		l.log.Info("credentials have changed: one call tries them")
	}
}

func (l *nmvsLog) gone(svc nmvs.Service, cause error) {
	if _, told := l.down[svc]; told {
		return
	}
	l.down[svc] = time.Now()
	l.log.Warn("NMVS does not answer: scans wait, nothing is lost", "service", svc.String(), "cause", cause)
}

func (l *nmvsLog) back(svc nmvs.Service) {
	since, told := l.down[svc]
	if !told {
		return
	}
	delete(l.down, svc)
	l.log.Info("NMVS answers again", "service", svc.String(), "after", time.Since(since).Round(time.Second).String())
}

// lost tells of a call whose fate is not known. The breaker bounds how many there are.
func (l *nmvsLog) lost(call nmvs.Call, cause error) {
	l.log.Warn("an answer of NMVS is lost or unusable: its packs are held, then verified, and sent again only if still active",
		"service", call.Service.String(), "packs", len(call.Packs), "cause", cause)
}

// outage tells when something goes and when it comes back, once each. One goroutine.
type outage struct {
	log        *slog.Logger
	away, back string
	since      time.Time // zero: it is there
}

func (o *outage) seen(err error) {
	switch {
	case err != nil && o.since.IsZero():
		o.since = time.Now()
		o.log.Warn(o.away, "err", err)
	case err == nil && !o.since.IsZero():
		o.log.Info(o.back, "after", time.Since(o.since).Round(time.Second).String())
		o.since = time.Time{}
	}
}

// greetEvery is the pause between the pings of a start that nobody answers.
const greetEvery = 30 * time.Second

// greet pings each service until it answers, so that a wrong address, authority or
// certificate is told at the start and not at the first scan. It decides nothing: that is
// the breaker's work.
func (l *nmvsLog) greet(ctx context.Context, to nmvs.Sender, services []nmvs.Service) {
	var each sync.WaitGroup
	for _, svc := range services {
		each.Go(func() { l.greetOne(ctx, to, svc) })
	}
	each.Wait()
}

func (l *nmvsLog) greetOne(ctx context.Context, to nmvs.Sender, svc nmvs.Service) {
	for told := false; ; {
		a, err := to.Do(ctx, nmvs.Call{Act: nmvs.ActPing, C: nmvs.NewTrxID(), Service: svc})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil, a.Code != "" && a.Class != nmvs.Login: // it may not know this ping, but somebody is at home
			l.log.Info("NMVS answers", "service", svc.String())
			return
		case !told:
			told = true
			l.log.Warn(whyNoAnswer(a, err), "service", svc.String(), "cause", err)
		}
		select {
		case <-time.After(greetEvery):
		case <-ctx.Done():
			return
		}
	}
}

// whyNoAnswer says what a person should look at.
func whyNoAnswer(a nmvs.Answer, err error) string {
	_, stranger := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case stranger:
		return "the server at the NMVS address cannot be trusted, scans wait: look at nmvs.ca and nmvs.endpoints"
	case a.Class == nmvs.Login:
		return "NMVS refuses our certificate, scans wait: look at the account's certificate, or ask NMVS"
	}
	return "NMVS does not answer: scans wait, nothing is lost"
}

// used lists the services that packs go through.
func (e EndpointsConfig) used() (list []nmvs.Service) {
	for _, s := range []struct {
		svc nmvs.Service
		url string
	}{{nmvs.Single, e.Single}, {nmvs.Bulk, e.Bulk}, {nmvs.Mixed, e.Mixed}} {
		if s.url != "" {
			list = append(list, s.svc)
		}
	}
	return list
}
