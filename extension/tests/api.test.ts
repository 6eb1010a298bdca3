import type { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import { Api, ApiError } from '../src/api.js';
import { overview } from './samples.js';

const SETTINGS = { baseUrl: 'http://localhost:8888/user/me/' } as ServerConnection.ISettings;

function apiOf(answer: Response | Error): {
  api: Api;
  asked: { url: string; init: RequestInit }[];
} {
  const asked: { url: string; init: RequestInit }[] = [];
  const api = new Api(SETTINGS, (url, init) => {
    asked.push({ url, init });
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  });
  return { api, asked };
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

  it('sends what is to be done as JSON', async () => {
    const { api, asked } = apiOf(json({ id: '1' }, 202));

    await api.act('abcd', 'extend', { hours: 1 });

    expect(asked[0]?.url).toContain('deployments/abcd/extend');
    expect(asked[0]?.init.body).toBe('{"hours":1}');
  });

  it('tells our errors with their hint', async () => {
    const told = { error: { message: 'It is too dear.', hint: 'Raise --max-usd.' } };
    const error = await errorOf(apiOf(json(told, 402)).api.deploy({ models: ['m'] }));

    expect([error.status, error.message, error.hint]).toEqual([
      402,
      'It is too dear.',
      'Raise --max-usd.',
    ]);
  });

  it("tells Jupyter's errors", async () => {
    const error = await errorOf(apiOf(json({ message: 'Forbidden' }, 403)).api.stopAll());

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
