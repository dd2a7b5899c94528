#!/bin/bash
# Runs as root inside the machine that deploy/dev/fresh-debian.sh boots, once after each boot:
# the first part asks for a reboot, the second goes on. Each line it prints is something seen.
set -euo pipefail
cd /opt/fresh
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive DECOM_CONFIG=/etc/decom/decom.yaml

step() { printf '\n== %s\n' "$*"; }
saw() { printf '   %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*"
  journalctl -u decom -n 40 --no-pager -o cat || true
  exit 1
}
end() {
  [ -s verdict ] || echo failed >verdict
  systemctl poweroff
}
trap end EXIT

# soon COMMAND...: a state is waited for, at most two minutes.
soon() {
  local until=$((SECONDS + 120))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || fail "not within two minutes: $*"
    sleep 0.2
  done
}
property() { systemctl show decom -P "$1"; }
is() { [ "$(property "$1")" = "$2" ]; }
restarts() { [ "$(property NRestarts)" -ge "$1" ]; }
journal_says() { journalctl -u decom --no-pager -o cat | grep -F -- "$1"; }
metric_is() { curl -sf http://127.0.0.1:8080/metrics | grep -qx -- "$1"; }
ready() { curl -sf http://127.0.0.1:8080/readyz; }
outcomes() { # how many are in the stream
  curl -sf 'http://127.0.0.1:8222/jsz?streams=1' | tr -d ' \n\t' | grep -o '"name":"DECOM_OUTCOMES".*' | grep -o '"messages":[0-9]*' | head -1 | cut -d: -f2
}
all_answered() { [ "$(outcomes)" = "$1" ]; }

# scans FIRST LAST: scan events of packs that nobody has seen.
scans() {
  local i
  for ((i = $1; i <= $2; i++)); do
    printf '{"v":1,"id":"fresh-%d","op":"supply","pack":{"scheme":"GTIN","code":"03400930000007","serial":"FRESH%05d","batch":"LOT42","expiry":"341100"}}\n' "$i" "$i"
  done
}
publish() { scans "$1" "$2" | decom publish --site site-1 --device rowa-1 >>published; }

# load FIRST LAST COMMAND...: COMMAND while scans come in one after another; both must succeed.
load() {
  local first=$1 last=$2 i pid
  shift 2
  (for ((i = first; i <= last; i++)); do publish "$i" "$i"; done) &
  pid=$!
  "$@"
  wait "$pid" || fail "publishing failed meanwhile"
}

install_stores() {
  cat >/etc/nats-server.conf <<'CONF'
listen: "127.0.0.1:4222"
http: "127.0.0.1:8222"
server_name: fresh
jetstream { store_dir: "/var/lib/nats", sync_interval: always, limits: { default_max_consumers: -1 } }
CONF
  cat >/etc/systemd/system/nats-server.service <<'UNIT'
[Service]
ExecStart=/usr/local/bin/nats-server -c /etc/nats-server.conf
StateDirectory=nats
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
  cat >/etc/systemd/system/sim.service <<'UNIT'
[Service]
ExecStart=/usr/bin/decom sim --dir /srv/sim --listen 127.0.0.1:8443 --control 127.0.0.1:8444
StateDirectory=sim
[Install]
WantedBy=multi-user.target
UNIT
  printf 'appendonly yes\nmaxmemory-policy noeviction\n' >>/etc/redis/redis.conf
  systemctl daemon-reload
  systemctl enable --now nats-server sim
  systemctl enable redis-server
  systemctl restart redis-server
  soon test -s /srv/sim/decom-sim.yaml
}

# configure does what the unit's comment says: secrets only root can read, handed over as credentials.
configure() {
  local s=/etc/decom/secrets
  install -m 0600 /srv/sim/password "$s/chu.password"
  install -m 0600 /srv/sim/passphrase "$s/chu.passphrase"
  install -m 0600 /srv/sim/client.p12 "$s/chu.p12"
  install -m 0644 /srv/sim/ca.pem /etc/decom/ca.pem
  { sed -e 's#"password"#secrets/chu.password#; s#"passphrase"#secrets/chu.passphrase#; s#"client.p12"#secrets/chu.p12#' /srv/sim/decom-sim.yaml
    cat <<'YAML'
nats: {url: "nats://127.0.0.1:4222"}
redis: {url: "redis://127.0.0.1:6379/0"}
http: {listen: "127.0.0.1:8080"}
log: {level: info}
protocol: {t_hold_single: 40s}   # 20 minutes by default: packs that a kill meets on their way shall end within this run
YAML
  } >/etc/decom/decom.yaml
  mkdir -p /etc/systemd/system/decom.service.d
  sed -n '/^#   \[Service\]/,/^\[Unit\]/ s/^#   //p' /usr/lib/systemd/system/decom.service >/etc/systemd/system/decom.service.d/secrets.conf
  grep -c . /etc/systemd/system/decom.service.d/secrets.conf | grep -qx 7 || fail "the unit's comment is no drop-in of seven lines"
  systemctl daemon-reload
}

# answered N: every scan so far has its outcome, one each, and NMVS has nothing to complain about.
answered() {
  soon all_answered "$1"
  curl -sf http://127.0.0.1:8444/verdict | grep -q '"clean":true' || fail "the simulator's verdict: $(curl -s http://127.0.0.1:8444/verdict)"
  saw "$1 scans, $1 outcomes, NMVS's verdict clean"
}

first_boot() {
  saw "$(. /etc/os-release && echo "$PRETTY_NAME"), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') as process $(pgrep -o systemd), cgroup $(stat -fc %T /sys/fs/cgroup)"

  step "install the package"
  apt-get install -qq -y ./decom_1.0.0_*.deb >apt.log 2>&1 || fail "apt: $(tail -5 apt.log)"
  grep -F 'decom: write /etc/decom/decom.yaml' apt.log || fail "postinst does not say what comes next"
  saw "$(decom --version)"
  decom --version | grep -q '1\.0\.0' || fail "the version does not name the package's"
  systemctl start decom
  is ActiveState inactive || fail "started without a configuration"
  saw "without a configuration: $(property ActiveState), result $(property Result)"

  step "local servers, a configuration, the secrets as credentials"
  install_stores
  configure
  decom config check | sed 's/^/   /'

  step "start the unit"
  systemctl enable --now decom 2>/dev/null || fail "systemctl start"
  is ActiveState active || fail "not active after start"
  saw "active, type $(property Type), user $(property User), watchdog $(property WatchdogUSec), status: $(property StatusText)"
  ! runuser -u decom -- cat /etc/decom/secrets/chu.password 2>/dev/null || fail "the service's user reads the secrets itself"

  step "doctor"
  soon ready
  decom doctor >doctor.txt || { cat doctor.txt; fail "doctor ends with $?"; }
  sed 's/^/   /' doctor.txt
  decom doctor --lang fr | tail -1 | sed 's/^/   /'

  step "publish, see the outcome"
  decom tap --stage outcomes --since 1h --limit 3 >tap.txt & tap=$!
  publish 1 3
  wait $tap
  sed 's/^/   /' tap.txt
  answered 3
  decom pack 03400930000007 FRESH00001 | sed 's/^/   /'
  decom status | sed 's/^/   /'

  step "hardening"
  systemd-analyze security decom --no-pager | tail -1 | sed 's/^/   /'
  systemd-analyze security decom --no-pager --threshold=20 >/dev/null || fail "exposure is 2.0 or more"

  step "reload: a right one, a wrong one, a right one"
  sed -i 's/level: info/level: debug/' /etc/decom/decom.yaml
  systemctl reload decom
  soon journal_says 'log.level'
  saw "$(journal_says log.level | tail -1)"
  sed -i 's/level: debug/level: loud/' /etc/decom/decom.yaml
  systemctl reload decom || true
  soon metric_is 'decom_config_reload_failed 1'
  is ActiveState active || fail "a wrong configuration stopped it"
  saw "wrong level: still active, decom_config_reload_failed 1"
  sed -i 's/level: loud/level: info/' /etc/decom/decom.yaml
  systemctl reload decom
  soon metric_is 'decom_config_reload_failed 0'

  step "restart and stop under load"
  local at=$(date +%s%3N)
  load 4 40 systemctl restart decom
  saw "restart took less than $(($(date +%s%3N) - at)) ms, 37 scans published meanwhile"
  answered 40
  at=$(date +%s%3N)
  systemctl stop decom
  saw "stop took $(($(date +%s%3N) - at)) ms, result $(property Result)"
  is Result success || fail "stop was not clean"
  publish 41 45
  systemctl start decom
  answered 45

  step "kill -9"
  local before=$(property NRestarts)
  load 46 70 systemctl kill --signal=KILL --kill-whom=main decom
  soon restarts $((before + 1))
  soon is ActiveState active
  saw "systemd started it again: NRestarts $(property NRestarts)"
  soon ready
  saw "on their way then: $(decom status --json | grep -o '"open": [0-9]*')"
  answered 70

  step "a process that hangs: SIGSTOP"
  before=$(property NRestarts)
  at=$(date +%s)
  systemctl kill --signal=STOP --kill-whom=main decom
  soon restarts $((before + 1))
  soon is ActiveState active
  saw "the watchdog ended it, systemd started it again after $(($(date +%s) - at)) s: $(journalctl -u decom --no-pager -o cat | grep -i watchdog | tail -1)"
  soon ready

  step "NATS away at start"
  systemctl stop nats-server
  systemctl restart --no-block decom
  soon is ExecMainStatus 75
  saw "ends with $(property ExecMainStatus), is tried again: $(property ActiveState)"
  systemctl start nats-server
  soon is ActiveState active
  soon ready
  saw "NATS back: active by itself"

  step "a wrong configuration"
  sed -i 's/level: info/level: loud/' /etc/decom/decom.yaml
  ! systemctl restart decom 2>/dev/null || fail "took a wrong configuration"
  soon is ActiveState failed
  saw "ends with $(property ExecMainStatus), stays failed: $(journal_says 'decom.yaml:' | tail -1)"
  sed -i 's/level: loud/level: info/' /etc/decom/decom.yaml
  systemctl reset-failed decom
  systemctl start decom

  step "reboot"
  touch rebooted
  trap - EXIT
  systemctl reboot
}

second_boot() {
  soon is ActiveState active
  soon ready
  saw "it came up with the machine: $(property ActiveState)"
  answered 70

  step "upgrade under load"
  local pid=$(property MainPID)
  load 71 110 apt-get install -qq -y ./decom_1.0.1_*.deb >apt.log 2>&1
  is ActiveState active || fail "not active after the upgrade"
  [ "$(property MainPID)" != "$pid" ] || fail "the old process still runs"
  saw "$(decom --version), $(dpkg-query -W -f '${Status}' decom), restarted, configuration and drop-in untouched"
  soon metric_is 'decom_halted{account="sim-1"} 0'
  decom doctor >doctor.txt || { cat doctor.txt; fail "doctor after the upgrade"; }
  answered 110
  decom ledger verify | sed 's/^/   /'

  step "remove, purge"
  apt-get remove -qq -y decom >apt.log 2>&1
  [ ! -e /usr/bin/decom ] || fail "the binary stays"
  ! systemctl is-active -q decom || fail "still running after remove"
  [ -e /etc/decom/secrets/chu.p12 ] || fail "remove took the secrets"
  apt-get purge -qq -y decom >apt.log 2>&1
  grep -F '/var/lib/decom is kept' apt.log | sed 's/^/   /'
  [ -d /var/lib/decom ] || fail "purge took /var/lib/decom"
  systemctl reset-failed 2>/dev/null || true
  [ "$(systemctl is-system-running)" = running ] || { systemctl --failed --no-pager --plain | head -5; }
  echo passed >verdict
}

if [ -e rebooted ]; then second_boot; else first_boot; fi
