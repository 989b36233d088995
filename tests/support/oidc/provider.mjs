// A certified OpenID Provider on a port of this machine: node provider.mjs. It prints one line with its issuer, and ends with its parent.
import http from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

const AUDIENCE = "urn:parade";
const CODE = "urn:ietf:params:oauth:grant-type:device_code";

let keys = [];
let made = 0;
let answer;

async function newKey() {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: `k${made++}`, alg: "ES256", use: "sig" };
}

// The keys of a provider do not change, so with other keys it is made anew. What it keeps is the module's own, and lives on.
function build() {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const signed = { id_token_signed_response_alg: "ES256" };
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: "parade-cli",
        token_endpoint_auth_method: "none",
        application_type: "native",
        redirect_uris: ["http://127.0.0.1/callback"],
        grant_types: ["authorization_code", "refresh_token", CODE],
        response_types: ["code"],
        ...signed,
      },
      {
        client_id: "robot",
        client_secret: "robot-secret",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        ...signed,
      },
    ],
    conformIdTokenClaims: false,
    cookies: { keys: ["test"] },
    scopes: ["openid", "offline_access"],
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: "",
          audience: AUDIENCE,
          accessTokenTTL: 300,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    pkce: { required: () => true },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    ttl: { AccessToken: 300, ClientCredentials: 300, IdToken: 300, DeviceCode: 60, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
  });
  const callback = provider.callback();
  answer = async (request, response) => {
    if (request.url === "/test/rotate") {
      keys = [await newKey(), ...keys.slice(0, 1)];
      build();
      response.end("{}");
    } else if (request.url === "/test/withdraw") {
      keys = keys.slice(0, 1);
      build();
      response.end("{}");
    } else {
      callback(request, response);
    }
  };
}

keys = [await newKey()];
const server = http.createServer((request, response) => answer(request, response));
server.listen(0, "127.0.0.1", () => {
  build();
  console.log(JSON.stringify({ issuer: `http://127.0.0.1:${server.address().port}` }));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
