import { describe, expect, test } from "bun:test";
import { isSecretName, Redactor, REMOVED } from "../../../broker/cli/diag/redactor.ts";
import { BROKER_SETTINGS } from "../../../broker/config/broker_settings.ts";
import { UNUSED_SETTINGS } from "../../../broker/config/unused_settings.ts";
import { testSeeds } from "../../sim/sim_random.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";
const PEM =
  "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nq83vEjRWeJA=\n-----END RSA PRIVATE KEY-----";

describe("isSecretName", () => {
  const secret = [
    "ssl.key.password",
    "ssl.keystore.key",
    "sasl.jaas.config",
    "listener.name.sasl_ssl.plain.sasl.jaas.config",
    "delegation.token.secret.key",
    "sasl.oauthbearer.client.credentials.client.secret",
    "WEIR_SSL_KEYSTORE_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "PGPASSWORD",
    "DB_PASSWD2",
    "X_API_KEY",
    "SENTRY_DSN",
    "Authorization",
    "aws_session_token",
  ];
  test.each(secret)("isSecretName: %s", (name) => {
    expect(isSecretName(name)).toBeTrue();
  });

  test("isSecretName: no setting of weir is one, and of Kafka's those that hold a secret", () => {
    expect(Object.keys(BROKER_SETTINGS).filter(isSecretName)).toEqual([]);
    expect(UNUSED_SETTINGS.filter(isSecretName)).toEqual([
      "delegation.token.secret.key",
      "sasl.jaas.config",
      "sasl.oauthbearer.assertion.private.key.file",
      "sasl.oauthbearer.assertion.private.key.passphrase",
      "sasl.oauthbearer.client.credentials.client.id",
      "sasl.oauthbearer.client.credentials.client.secret",
      "ssl.key.password",
      "ssl.keystore.certificate.chain",
      "ssl.keystore.key",
      "ssl.keystore.password",
      "ssl.truststore.certificates",
      "ssl.truststore.password",
    ]);
  });

  test("isSecretName: not a working directory, whatever the shell calls it", () => {
    expect(["PWD", "OLDPWD", "PATH", "HOME", "WEIR_LOG_DIRS"].filter(isSecretName)).toEqual([]);
  });
});

describe("Redactor", () => {
  const gone: readonly (readonly [text: string, cleaned: string])[] = [
    ["http://me:hush@proxy:3128/x", `http://${REMOVED}@proxy:3128/x`],
    ["redis://:hush@cache", `redis://${REMOVED}@cache`],
    ["amqp://token@host", `amqp://${REMOVED}@host`],
    ["me:hush@db.example", `${REMOVED}@db.example`],
    ["Authorization: Bearer abcdef123456", `Authorization: ${REMOVED} ${REMOVED}`],
    ["header=Basic bWU6aHVzaA==", `header=Basic ${REMOVED}`],
    [`client-${JWT} 1`, `client-${REMOVED} 1`],
    [`key ${PEM} end`, `key ${REMOVED} end`],
    [`{"key":${JSON.stringify(PEM)}}`, `{"key":"${REMOVED}"}`],
    ["AKIAIOSFODNN7EXAMPLE", REMOVED],
    ["ghp_abcdefghijklmnop1234", REMOVED],
    ["password=kafka", `password=${REMOVED}`],
    ["password=hush,user=me", `password=${REMOVED},user=me`],
    ['{"password":"hu\\"sh","user":"me"}', `{"password":"${REMOVED}","user":"me"}`],
    ['{"token":123456,"x":1}', `{"token":"${REMOVED}","x":1}`],
    ['{"text":"{\\"token\\":\\"hush\\"}"}', `{"text":"{\\"token\\":\\"${REMOVED}\\"}"}`],
    ["clientSecret: 'hush hush' x", `clientSecret: '${REMOVED}' x`],
    [
      'org.x.PlainLoginModule required username="me" password="hush";',
      `org.x.PlainLoginModule required username="me" password="${REMOVED}";`,
    ],
    ["GET /x?sig=abc%2Bdef&y=1", `GET /x?sig=${REMOVED}&y=1`],
    ["id q7Rk2mZp9Xw4Tn6Vb8Ly1Hc3Jd5Sf0Ga end", `id ${REMOVED} end`],
    ["0123456789abcdef0123456789abcdef", REMOVED],
  ];
  test.each(gone)("clean: %s", (text, cleaned) => {
    const redactor = new Redactor();
    expect(redactor.clean(text)).toBe(cleaned);
    expect(redactor.count).toBeGreaterThan(0);
    // What was cleaned once stays as it is.
    expect(new Redactor().clean(cleaned)).toBe(cleaned);
  });

  const stays = [
    "1@10.0.0.1:9093,2@10.0.0.2:9093,3@10.0.0.3:9093",
    "PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9093",
    "OrderService1-550e8400-e29b-41d4-a716-446655440000",
    "orders-0.0123456789abcdef0123456789abcdef-delete",
    '{"clusterId":"8Pvqq4oeSZiqJwxMKw6j-A","topicId":"fryMeQqxS-Wbv-GiYXpw1w"}',
    "weir_log_cleaner_uncleanable_partitions_count 0",
    'weir_request_duration_seconds_bucket{api="Produce",le="+Inf"} 2',
    "2026-11-26 12:54:03.449 INFO  groups: Group rebalances  group=billing cause=member_joined",
    "delegation.token.expiry.time.ms=86400000",
    "key.serializer=org.apache.kafka.common.serialization.StringSerializer",
    "sasl.oauthbearer.token.endpoint.url=https://login.example/token",
    '{"password":null,"token":""}',
  ];
  test.each(stays)("clean: leaves %s", (text) => {
    const redactor = new Redactor();
    expect(redactor.clean(text)).toBe(text);
    expect(redactor.count).toBe(0);
  });

  test("learn: a secret goes wherever it turns up, and in whatever form", () => {
    const redactor = new Redactor();
    const secret = 'correct "horse" / staple';
    redactor.learn(secret);
    for (
      const form of [
        secret,
        JSON.stringify(secret),
        encodeURIComponent(secret),
        Buffer.from(secret).toString("base64"),
        `group-${secret}-1`,
      ]
    ) {
      expect(redactor.clean(`seen ${form} here`)).not.toContain("horse");
      expect(redactor.clean(form)).not.toContain(Buffer.from(secret).toString("base64"));
    }
  });

  test("learn: of a JAAS line and of a URL the password within, of a key each line", () => {
    const redactor = new Redactor();
    redactor.learn('x.LoginModule required username="me" password="battery9";');
    redactor.learn("https://me:staple77@host/");
    redactor.learn(PEM);
    expect(redactor.clean("battery9 staple77 q83vEjRWeJA= MIIEpAIBAAKCAQEA")).toBe(
      Array(4).fill(REMOVED).join(" "),
    );
  });

  test("learn: what is no secret by its value takes nothing out", () => {
    const redactor = new Redactor();
    for (const value of ["true", "none", "3600", "abc", "", "PLAINTEXT"]) redactor.learn(value);
    const text = "true none 3600 abc PLAINTEXT";
    expect(redactor.clean(text)).toBe(text);
  });

  test("shown: hides the value of what is called a secret, remembers it, and shows any other", () => {
    const redactor = new Redactor();
    expect(redactor.shown("ssl.key.password", "hush-hush")).toBe(REMOVED);
    expect(redactor.shown("log.dirs", "/data")).toBe("/data");
    expect(redactor.shown("ssl.key.password", null)).toBeNull();
    expect(redactor.clean("said hush-hush aloud")).toBe(`said ${REMOVED} aloud`);
  });

  test.each(testSeeds(200))(
    "clean: JSON stays JSON, within JSON too, and no secret is left in it, seed %i",
    (seed) => {
      const random = new SimRandom(seed);
      const redactor = new Redactor();
      const secrets: string[] = [];
      const letters = [
        "a",
        "Z",
        "7",
        '"',
        "\\",
        "/",
        "@",
        ":",
        "'",
        ",",
        "}",
        " ",
        "=",
        "é",
        "\n",
        "-",
      ];
      const word = () =>
        Array.from({ length: 8 + random.below(20) }, () => letters[random.below(letters.length)])
          .join("") +
        secrets.length;
      const secret = () => {
        secrets.push(word());
        return secrets.at(-1)!;
      };
      const token = () => {
        const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        const long = Array.from({ length: 40 }, () => alphabet[random.below(62)]).join("") +
          "aA1b2";
        secrets.push(
          random.pick([`eyJ${long}.${long}.x`, long, `ghp_${long}`, "AKIAIOSFODNN7EXAMPLE"]),
        );
        return secrets.at(-1)!;
      };
      const value = (depth: number): unknown => {
        switch (random.below(depth > 3 ? 4 : 7)) {
          case 3:
            return random.pick(["\n", "\\", "\t", "é", " ", "x/", "\u0001", '"']) + token();
          case 0:
            return word();
          case 1:
            return random.below(1e6);
          case 2:
            return { password: secret(), "api.key": secret(), note: "plain" };
          case 4:
            return {
              user: word(),
              text: JSON.stringify({ token: secret(), list: [value(depth + 1)] }),
            };
          case 5:
            return [value(depth + 1), value(depth + 1)];
          default:
            return {
              inner: value(depth + 1),
              clientSecret: secret(),
              tokens: random.below(100),
              none: null,
            };
        }
      };
      const cleaned = redactor.clean(JSON.stringify(value(0)));
      const text = JSON.stringify(JSON.parse(cleaned));
      for (const one of secrets) {
        // Of a text within a text the escapes are escaped again.
        let form = one;
        for (let depth = 0; depth < 5; depth++) {
          expect(text).not.toContain(form);
          form = JSON.stringify(form).slice(1, -1);
        }
      }
    },
  );

  test("clean: a long text without an end takes no long time", () => {
    const redactor = new Redactor();
    for (
      const text of [
        "a".repeat(300_000),
        '"token":"a",'.repeat(30_000),
        "\\".repeat(300_000),
        `token=${"\\".repeat(300_000)}`,
        "token:".repeat(50_000),
        "aA1".repeat(100_000),
        '"token":"'.repeat(30_000),
        "a:b".repeat(90_000),
        "-----BEGIN PRIVATE KEY-----".repeat(10_000),
      ]
    ) {
      const startMs = performance.now();
      redactor.clean(text);
      expect(performance.now() - startMs, text.slice(0, 12)).toBeLessThan(1500);
    }
  });
});
