package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"decom/queue"
	"decom/worker/packstate"
)

// connectNATS reaches the server that a worker would use, without starting one.
func (d *doctor) connectNATS(ctx context.Context) (*queue.Conn, error) {
	cfg, err := d.cfg.queueConfig()
	if err != nil {
		return nil, err
	}
	if url, embedded := d.embedded(); embedded {
		if url == "" {
			return nil, errNoEmbedded
		}
		conn, err := queue.Connect(ctx, queue.Config{URL: url, Name: "decom-doctor", KeepLost: cfg.KeepLost})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoEmbedded, err)
		}
		return conn, nil
	}
	cfg.Name = "decom-doctor"
	return queue.Connect(ctx, cfg)
}

// nats looks at the server, its streams and consumers.
func (d *doctor) nats(ctx context.Context) {
	conn, err := d.connectNATS(ctx)
	if err != nil {
		d.noNATS(err)
		return
	}
	defer conn.Close()
	_, embedded := d.embedded()
	in, err := conn.Inspect(ctx, d.cfg.queueAccounts(), d.flags.monitor)
	if err != nil {
		d.fail("nats.server", d.natsAddress(), tr("répond, mais pas à tout : %v", "answers, but not everything: %v", err),
			tr("voir le journal du serveur et les droits de cet utilisateur ($JS.API)", "see the server's log and this user's rights ($JS.API)"))
		return
	}
	d.ok("nats.server", d.natsAddress(), tr("nats-server %s, JetStream actif", "nats-server %s, JetStream is on", in.Version))
	d.natsSync(in, embedded)
	d.natsTimes(in)
	d.natsStorage(in)
	d.natsConsumers(in)
	d.natsStreams(ctx, conn)
	for _, s := range in.Streams {
		if len(s.Behind) > 0 {
			d.warn("nats.replicas", s.Name, tr("répliques en retard ou absentes : %s", "replicas behind or away: %s", strings.Join(s.Behind, ", ")),
				tr("remettre ces serveurs en route ; une perte de plus peut arrêter le flux", "bring these servers back; one more lost may stop the stream"))
		}
	}
	for _, c := range in.Captures {
		d.fail("nats.capture", c.Stream, tr("ce flux prend nos sujets : %s", "this stream takes our subjects: %s", strings.Join(c.Subjects, ", ")),
			tr("lui donner d'autres sujets : ils ne peuvent appartenir qu'à un flux", "give it other subjects: they can belong to one stream only"))
	}
	if len(in.Captures) == 0 {
		d.ok("nats.capture", "", tr("aucun autre flux ne prend les sujets decom.*", "no other stream takes subjects of decom"))
	}
	if len(in.Strangers) > 0 {
		d.warn("nats.consumers", "", tr("consommateurs qu'aucun compte d'ici n'a : %s", "consumers that no account here has: %s", strings.Join(in.Strangers, ", ")),
			tr("d'une autre configuration ? sinon les supprimer : personne n'y lit", "another configuration's? Else remove them: nobody reads there"))
	}
	d.natsUnrouted(ctx, conn)
	d.mqtt(ctx, conn)
}

func (d *doctor) natsAddress() string {
	if url, embedded := d.embedded(); embedded {
		return "embedded " + url
	}
	return maskURL(d.cfg.NATS.URL)
}

func (d *doctor) noNATS(err error) {
	on := d.natsAddress()
	switch {
	case errors.Is(err, errNoEmbedded):
		d.warn("nats.server", strings.TrimSpace(on), tr("intégré, et aucun decom run avec ce dir ne tourne : flux non regardés", "embedded, and no decom run with this dir is up: streams not looked at"),
			tr("démarrer decom run, puis relancer doctor", "start decom run, then doctor again"))
	case errors.Is(err, queue.ErrDenied):
		d.fail("nats.server", on, tr("%v", "%v", err), tr("vérifier nats.creds, nats.nkey ou nats.user", "check nats.creds, nats.nkey or nats.user"))
	case errors.Is(err, queue.ErrTooOld):
		d.fail("nats.server", on, tr("%v", "%v", err), tr("mettre nats-server à jour", "upgrade nats-server"))
	default:
		d.fail("nats.server", on, tr("%v", "%v", err),
			tr("démarrer nats-server avec JetStream, ou corriger nats.url ; pare-feu ?", "start nats-server with JetStream, or correct nats.url; a firewall?"))
	}
}

func (d *doctor) natsSync(in queue.Inspection, embedded bool) {
	switch {
	case in.Sync == "always" || embedded: // decom run's own server always does
		d.ok("nats.sync", "", tr("chaque écriture va au disque (sync_interval: always)", "each write goes to disk (sync_interval: always)"))
	case in.Sync == "":
		d.warn("nats.sync", "", tr("mode inconnu : %s", "mode is not known: %s", in.SyncWhy),
			tr("jetstream { sync_interval: always } en production ; --nats-monitor URL le vérifie", "jetstream { sync_interval: always } in production; --nats-monitor URL checks it"))
	default:
		d.warn("nats.sync", "", tr("le disque n'est à jour que toutes les %s : une coupure de courant perd des enregistrements", "the disk is up to date only every %s: a power cut loses records", in.Sync),
			tr("jetstream { sync_interval: always }", "jetstream { sync_interval: always }"))
	}
}

// Times from which on they are worth a look.
const (
	slowNATS  = 50 * time.Millisecond
	slowRedis = 10 * time.Millisecond
	skewWarn  = time.Second
)

func (d *doctor) natsTimes(in queue.Inspection) {
	rtt := in.RTT.Round(10 * time.Microsecond)
	if in.RTT > slowNATS {
		d.warn("nats.latency", "", tr("%s par requête", "%s a request", rtt), tr("chaque enregistrement attend ce temps : rapprocher decom de NATS", "each record waits that long: bring decom and NATS closer"))
	} else {
		d.ok("nats.latency", "", tr("%s par requête", "%s a request", rtt))
	}
	if !in.SkewKnown {
		return // told as missing streams
	}
	d.clock("nats.clock", "", in.Skew, in.RTT/2, d.cfg.Protocol.Skew)
}

// clock judges another clock against ours; sure is how exactly it is known, wrong from
// where on it breaks rules (0: it breaks none).
func (d *doctor) clock(check, on string, skew, sure, wrong time.Duration) {
	m := tr("horloge à %s de la nôtre (± %s)", "clock is %s off ours (± %s)", skew.Round(time.Millisecond), sure.Round(time.Millisecond))
	do := tr("régler l'heure des machines (chrony, NTP)", "set the machines' time (chrony, NTP)")
	switch {
	case wrong > 0 && skew.Abs()-sure > wrong:
		d.fail(check, on, m, do)
	case skew.Abs()-sure > skewWarn:
		d.warn(check, on, m, do)
	default:
		d.ok(check, on, m)
	}
}

func (d *doctor) natsStorage(in queue.Inspection) {
	do := tr("élargir la limite ou le disque : plein, le flux refuse les scans et le registre", "raise the limit, or the disk: when full, scans and records are refused")
	full := func(on string, used, limit uint64) {
		m := tr("%s sur %s", "%s of %s", bytesText(used), bytesText(limit))
		switch share := float64(used) / float64(limit); {
		case share > 0.95:
			d.fail("nats.storage", on, m, do)
		case share > 0.8:
			d.warn("nats.storage", on, m, do)
		default:
			d.ok("nats.storage", on, m)
		}
	}
	if in.Limit > 0 {
		full("account", uint64(in.Used), uint64(in.Limit))
	}
	for _, s := range in.Streams {
		if s.MaxBytes > 0 {
			full(s.Name, s.Bytes, uint64(s.MaxBytes))
		}
	}
}

// serverConsumers is how many consumers nats-server 2.15 gives a stream unless it is told otherwise.
const serverConsumers = 1000

// natsConsumers holds the accounts, each of which has a consumer of every stream, to what the
// server allows.
func (d *doctor) natsConsumers(in queue.Inspection) {
	need := len(d.cfg.Accounts)
	do := tr("jetstream { limits { default_max_consumers: -1 } } dans chaque serveur, ou lever la limite du compte NATS",
		"jetstream { limits { default_max_consumers: -1 } } in every server, or lift the NATS account's limit")
	switch {
	case in.MaxConsumers > 0 && need > in.MaxConsumers:
		d.fail("nats.consumers", "", tr("%d comptes, mais %d consommateurs par flux permis : decom setup s'arrêtera", "%d accounts, but %d consumers a stream are allowed: decom setup will end",
			need, in.MaxConsumers), do)
	case in.MaxConsumers == 0 && need > serverConsumers:
		d.warn("nats.consumers", "", tr("%d comptes, et la limite du serveur n'est pas connue (%d par défaut depuis 2.15) : %s", "%d accounts, and the server's limit is not known (%d by default since 2.15): %s",
			need, serverConsumers, in.SyncWhy), do)
	default:
		d.ok("nats.consumers", "", tr("place pour %d consommateur(s) par flux", "room for %d consumer(s) a stream", need))
	}
}

// natsStreams compares streams and consumers with what the protocol wants.
func (d *doctor) natsStreams(ctx context.Context, conn *queue.Conn) {
	changes, err := conn.Setup(ctx, d.cfg.queueAccounts(), true)
	if err != nil {
		d.fail("nats.streams", "", tr("%v", "%v", err), tr("voir decom setup --dry-run", "see decom setup --dry-run"))
		return
	}
	for _, c := range changes {
		on, stream := c.Object, !strings.Contains(c.Object, "/")
		switch {
		case c.Field == "":
			d.warn("nats.streams", on, tr("n'existe pas encore", "does not exist yet"), tr("decom setup, ou decom run à son démarrage", "decom setup, or decom run at its start"))
		case stream && c.Field != "num_replicas" && c.Field != "duplicate_window":
			d.fail("nats.streams", on, tr("%s est %s, le protocole veut %s", "%s is %s, the protocol wants %s", c.Field, c.From, c.To),
				tr("decom setup le remet ; chercher qui l'a changé", "decom setup puts it back; find out who changed it"))
		default:
			d.warn("nats.streams", on, tr("%s est %s, attendu %s", "%s is %s, wanted %s", c.Field, c.From, c.To), tr("decom setup", "decom setup"))
		}
	}
	if len(changes) == 0 {
		d.ok("nats.streams", "", tr("3 flux et %d consommateurs comme le protocole les veut", "3 streams and %d consumers as the protocol wants them", 2*len(d.cfg.Accounts)))
	}
}

func (d *doctor) natsUnrouted(ctx context.Context, conn *queue.Conn) {
	sites, err := conn.Unrouted(ctx, d.cfg.queueAccounts())
	if errors.Is(err, queue.ErrNotSetUp) {
		return // told above
	}
	if err != nil {
		d.fail("nats.unrouted", "", tr("%v", "%v", err), tr("voir le journal du serveur", "see the server's log"))
		return
	}
	for site, n := range sites {
		if noDevice(site) {
			d.warn("nats.unrouted", site, tr("%d scan(s) dont le sujet ne nomme aucun appareil : personne ne les reçoit", "%d scan(s) whose subject names no device: nobody gets them", n),
				tr("corriger le robot (decom.scan.SITE.APPAREIL) et lui faire publier ces scans de nouveau", "correct the robot (decom.scan.SITE.DEVICE), and have it publish these scans again"))
			continue
		}
		d.warn("nats.unrouted", site, tr("%d scan(s) d'un site qu'aucun compte ne nomme attendent", "%d scan(s) of a site that no account names wait", n),
			tr("ajouter le site à accounts.sites, ou corriger le robot", "add the site to accounts.sites, or correct the robot"))
	}
	if len(sites) == 0 {
		d.ok("nats.unrouted", "", tr("chaque site du flux a son compte", "each site in the stream has its account"))
	}
}

// redis looks at the pack state's server.
func (d *doctor) redis(ctx context.Context) {
	cfg, err := d.cfg.storeConfig()
	if err != nil {
		d.fail("redis.server", "", tr("%v", "%v", err), tr("corriger redis dans la configuration", "correct redis in the configuration"))
		return
	}
	if cfg.Embedded() {
		d.ok("redis.server", "embedded", tr("dans le processus, refait depuis le registre à chaque départ", "inside the process, rebuilt from the ledger at each start"))
		return
	}
	store, err := packstate.Open(ctx, cfg)
	if err != nil {
		do := tr("démarrer Redis, ou corriger redis.url ; pare-feu ?", "start Redis, or correct redis.url; a firewall?")
		if errors.Is(err, packstate.ErrUnsuitable) {
			do = tr("changer le serveur comme dit : decom n'enverrait rien", "change the server as it says: decom would send nothing")
		}
		d.fail("redis.server", maskURL(d.cfg.Redis.URL), tr("%v", "%v", err), do)
		return
	}
	defer store.Close()
	info, err := store.Info(ctx)
	if err != nil {
		d.fail("redis.server", "", tr("%v", "%v", err), tr("voir le journal de Redis", "see Redis's log"))
		return
	}
	for _, sv := range info.Servers {
		d.redisServer(sv)
	}
	d.redisLatency(ctx, store)
}

func (d *doctor) redisServer(sv packstate.Server) {
	known := func(s string) string {
		if s == "" {
			return "?"
		}
		return s
	}
	if m := tr("Redis %s, %s, %s", "Redis %s, %s, %s", known(sv.Version), known(sv.Role), known(sv.Policy)); sv.Version == "" || sv.Policy == "" {
		d.warn("redis.server", sv.Addr, m, tr("il ne dit pas tout : vérifier version >= 7.0 et maxmemory-policy noeviction", "it does not tell all: make sure of version >= 7.0 and maxmemory-policy noeviction"))
	} else {
		d.ok("redis.server", sv.Addr, m)
	}
	if sv.AOF {
		d.ok("redis.persistence", sv.Addr, tr("journal AOF actif", "append-only file is on"))
	} else {
		d.warn("redis.persistence", sv.Addr, tr("pas de journal AOF : après un redémarrage il n'est pas un second témoin", "no append-only file: after its restart it is no second witness"),
			tr("appendonly yes", "appendonly yes"))
	}
	if sv.MaxMemory > 0 && sv.UsedMemory*10 > sv.MaxMemory*8 {
		d.warn("redis.memory", sv.Addr, tr("%s sur %s", "%s of %s", bytesText(uint64(sv.UsedMemory)), bytesText(uint64(sv.MaxMemory))),
			tr("augmenter maxmemory : plein, Redis refuse et rien n'est envoyé", "raise maxmemory: when full, Redis refuses and nothing is sent"))
	}
}

func (d *doctor) redisLatency(ctx context.Context, store *packstate.Store) {
	var took []time.Duration
	for range 25 {
		began := time.Now()
		if err := store.Ping(ctx); err != nil {
			d.fail("redis.latency", "", tr("%v", "%v", err), tr("voir le journal de Redis", "see Redis's log"))
			return
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median := took[len(took)/2]
	m := tr("%s en médiane", "%s median", median.Round(10*time.Microsecond))
	if median > slowRedis {
		d.warn("redis.latency", "", m, tr("chaque envoi attend Redis trois fois : le rapprocher", "each send waits for Redis three times: bring it closer"))
		return
	}
	d.ok("redis.latency", "", m)
}
