import type { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import { ApiError, HttpClient } from '../../src/lab/api.js';
import { OPTIONS, StoppedTime, overview, settled } from '../samples.js';

const SETTINGS = { baseUrl: 'http://localhost:8888/user/me/' } as ServerConnection.ISettings;

function apiOf(answer: Response | Error): {
  api: HttpClient;
  time: StoppedTime;
  asked: { url: string; init: RequestInit }[];
} {
  const asked: { url: string; init: RequestInit }[] = [];
  const time = new StoppedTime();
  const request = (url: string, init: RequestInit): Promise<Response> => {
    asked.push({ url, init });
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer.clone());
  };
  return { api: new HttpClient(SETTINGS, request, time), asked, time };
}

function json(told: unknown, status = 200): Response {
  return new Response(JSON.stringify(told), { status });
}

async function errorOf(call: Promise<unknown>): Promise<ApiError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ApiError) {
      return error;
    }
    throw error;
  }
  throw new Error('it did not fail');
}

describe('the api', () => {
  it('asks under the address of the server', async () => {
    const { api, asked } = apiOf(json(overview()));

    expect((await api.overview('a b.1')).nodes).toBe(1);

    expect(asked[0]?.url).toBe('http://localhost:8888/user/me/conduit/api/overview?since=a%20b.1');
    expect(asked[0]?.init.method).toBe('GET');
  });

  it('keeps a name in its place, whatever is in it', async () => {
    const { api, asked } = apiOf(json({ lines: ['one'] }));

    expect(await api.logs('sidecar:../x?y')).toEqual(['one']);

    expect(asked[0]?.url).toContain('deployments/sidecar%3A..%2Fx%3Fy/logs?tail=200');
  });

  it('reads a log that is watched again and again, until nobody watches it', async () => {
    const { api, asked, time } = apiOf(json({ lines: ['one'] }));
    const heard: unknown[] = [];

    const end = api.watchLog('abcd', (lines) => heard.push(lines));
    await settled();
    time.pass(5_000);
    await settled();
    expect(heard).toEqual([['one'], ['one']]);
    end();
    time.pass(60_000);
    await settled();

    expect(asked).toHaveLength(2);
  });

  it('shows in the place of a log why it cannot be read', async () => {
    const refused = json({ error: { message: 'It is gone.', hint: 'Look again.' } }, 400);
    const heard: unknown[] = [];
    apiOf(refused).api.watchLog('abcd', (lines) => heard.push(lines));
    await settled();

    expect(heard).toEqual([['It is gone. Look again.']]);
  });

  it('sends what is to be done as JSON', async () => {
    const { api, asked } = apiOf(json({ id: '1' }, 202));

    await api.act('abcd', 'extend');
    await api.act('all', 'terminate');
    await api.deploy({ models: ['m/one'] });

    const paths = asked.map(({ url }) => url.replace(/^.*conduit\/api\//, ''));
    expect(paths).toEqual(['deployments/abcd/extend', 'deployments/all/terminate', 'deployments']);
    expect(asked.map(({ init }) => init.body)).toEqual(['{}', '{}', '{"models":["m/one"]}']);
  });

  it('tells our errors with their hint and what is at fault', async () => {
    const said = { message: 'It is too dear.', hint: 'Raise --max-usd.', param: 'max_usd' };
    const error = await errorOf(apiOf(json({ error: said }, 402)).api.deploy({ models: ['m'] }));

    expect(error.status).toBe(402);
    expect(error).toMatchObject(said);
  });

  it('asks which options a deployment has', async () => {
    const { api, asked } = apiOf(json({ options: OPTIONS }));

    expect(await api.options()).toEqual(OPTIONS);
    expect(asked[0]?.url).toMatch(/\/conduit\/api\/options$/);
  });

  it("tells Jupyter's errors", async () => {
    const error = await errorOf(
      apiOf(json({ message: 'Forbidden' }, 403)).api.act('all', 'terminate'),
    );

    expect([error.status, error.message]).toEqual([403, 'Forbidden']);
  });

  it('knows a server without Conduit', async () => {
    const error = await errorOf(apiOf(new Response('<html>', { status: 404 })).api.overview(null));

    expect(error.message).toContain('does not know Conduit');
    expect(error.hint).toContain('Install conduit-nb');
  });

  it('tells a page of somebody else from an answer', async () => {
    const error = await errorOf(apiOf(new Response('<html>')).api.overview(null));

    expect(error.message).toContain('no JSON');
  });

  it('tells that there was no answer', async () => {
    const error = await errorOf(apiOf(new TypeError('Failed to fetch')).api.offerings());

    expect([error.status, error.message]).toEqual([0, 'Failed to fetch']);
  });
});
