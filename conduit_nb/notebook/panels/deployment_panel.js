/**
 * The panel of `%conduit panel`: from a model's id to something that answers, and back to nothing.
 *
 * @typedef {object} Deployment Amounts are US dollars, times ISO 8601.
 * @property {string} key
 * @property {string | null} id Null for the server beside the kernels.
 * @property {string} name
 * @property {string} provider
 * @property {string} runtime
 * @property {string} status
 * @property {string} device
 * @property {string} region
 * @property {string | null} nodes
 * @property {Record<string, string>} models
 * @property {number | null} usd_per_hour
 * @property {string | null} lease_until
 * @property {string} detail
 *
 * @typedef {object} Overview
 * @property {Deployment[]} deployments
 * @property {number} usd_per_hour
 * @property {Record<string, number>} spent
 * @property {number} today_usd
 * @property {number} day_cap_usd
 * @property {Record<string, string>} urls Where each is asked.
 * @property {string} as_of
 * @property {string[]} look_failures
 *
 * @typedef {object} Asks
 * @property {() => boolean} isAlive
 * @property {() => string} seenAt
 * @property {(message: object) => void} send
 */

import {
  button,
  clock,
  confirm,
  element,
  fill,
  labelled,
  named,
  offer,
  panelRoot,
  problemLine,
  span,
  usd,
  watchKernel,
} from './elements.js';
import { offeringsView } from './offerings_view.js';

/** States in which a log says more than a word. */
const BOOTING = ['launching', 'starting', 'booting'];

/** @param {{ model: import('./elements.js').Model, el: HTMLElement }} given */
function render({ model, el }) {
  const root = panelRoot(el, 'Deployments');
  const connection = element('p', { class: 'conduit-connection', role: 'status' });
  const total = element('p', { class: 'conduit-total' });
  const stopAll = button('Stop all …', askStopAll, 'End everything that runs');
  const question = element('div');
  const said = element('div');
  const cards = element('div');
  const failures = element('div');
  const picks = element('div', { hidden: true });
  const modelId = element('input', {
    type: 'text',
    placeholder: 'owner/model, or a folder',
    size: '40',
    required: true,
  });
  const runtime = element('select');
  const form = element(
    'form',
    { class: 'conduit-form', 'aria-label': 'Deploy a model' },
    labelled('model', modelId),
    labelled('runtime', runtime),
    element('button', { type: 'submit' }, 'Show what holds it'),
  );
  root.append(connection, total, stopAll, question, form, picks, said, cards, failures);

  /** @type {Map<string, ReturnType<typeof deploymentCard>>} */
  const drawn = new Map();
  /** @type {Overview | null} */
  let overview = null;

  const kernel = watchKernel(model, drawConnection);
  /** @type {Asks} */
  const asks = {
    isAlive: kernel.isAlive,
    seenAt: kernel.seenAt,
    send: (message) => model.send(message),
  };
  const offerings = offeringsView(picks, {
    deploy: (key) => model.send({ kind: 'deploy', key }),
    refresh: () => plan(true),
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    plan(false);
  });
  const timer = setInterval(drawTimes, 1000);
  const heard = (/** @type {any} */ message) => {
    switch (message.kind) {
      case 'overview':
        draw(message);
        break;
      case 'choices':
        offer(runtime, message.runtimes.map(named));
        modelId.value ||= message.model;
        break;
      case 'table':
        picks.hidden = false;
        fill(said);
        offerings.show(message);
        break;
      case 'logs':
        drawn.get(message.key)?.log(message.lines);
        break;
      case 'answer':
        drawn.get(message.key)?.answer(message);
        break;
      case 'action':
        fill(said, element('p', { role: 'status' }, message.text));
        break;
      case 'problem':
        fill(said, problemLine(message));
        break;
    }
  };
  model.on('msg:custom', heard);
  model.send({ kind: 'here' });
  return () => {
    clearInterval(timer);
    kernel.end();
    model.off('msg:custom', heard);
  };

  /** @param {boolean} fresh Whether every provider is asked, whatever is remembered. */
  function plan(fresh) {
    fill(said, element('p', { role: 'status' }, 'Planning, and asking every provider …'));
    model.send({ kind: 'plan', model: modelId.value, runtime: runtime.value, fresh });
  }

  function askStopAll() {
    const count = overview?.deployments.length ?? 0;
    confirm(
      question,
      `End ${count === 1 ? 'the one thing that runs' : `all ${count}`}, and delete what they have on disk?`,
      'End all',
      () => model.send({ kind: 'stop_all' }),
      () => stopAll.focus(),
    );
  }

  /** @param {Overview} told */
  function draw(told) {
    overview = told;
    const keys = told.deployments.map((one) => one.key);
    for (const [key, card] of drawn) {
      if (!keys.includes(key)) {
        card.root.remove();
        drawn.delete(key);
      }
    }
    for (const one of told.deployments) {
      let card = drawn.get(one.key);
      if (!card) {
        card = deploymentCard(one.key, asks);
        drawn.set(one.key, card);
        cards.append(card.root);
      }
      card.show(one, told);
    }
    stopAll.hidden = keys.length === 0;
    fill(failures, ...told.look_failures.map((message) => problemLine({ message })));
    drawTimes();
  }

  function drawTimes() {
    if (!overview) {
      total.textContent = '';
      return;
    }
    const count = overview.deployments.length;
    const spent = usd(
      overview.today_usd + (asks.isAlive() ? grown(overview, overview.usd_per_hour) : 0),
    );
    const runs =
      count === 0
        ? 'Nothing runs'
        : `${usd(overview.usd_per_hour)}/h, ${count} ${count === 1 ? 'deployment' : 'deployments'}`;
    total.textContent = asks.isAlive()
      ? `${runs}; ${spent} of ${usd(overview.day_cap_usd)} today`
      : `At ${asks.seenAt()}: ${runs}`;
    for (const card of drawn.values()) {
      card.drawTimes();
    }
  }

  /** @param {boolean} isAlive */
  function drawConnection(isAlive) {
    connection.hidden = isAlive;
    connection.textContent = `Disconnected, last seen ${clock(model.get('seen_at'))}: what runs may go on and cost. Run the cell again to see it.`;
    for (const control of root.querySelectorAll('button, input, select, textarea')) {
      /** @type {HTMLButtonElement} */ (control).disabled = !isAlive;
    }
    if (drawn.size) {
      drawTimes();
    }
  }
}

/**
 * One thing that runs.
 *
 * @param {string} key
 * @param {Asks} asks
 */
function deploymentCard(key, asks) {
  /** @type {Deployment | null} */ let now = null;
  /** @type {Overview | null} */ let overview = null;
  let hasStartedAnswer = false;

  const name = element('h4');
  const status = element('p', { role: 'status', class: 'conduit-state' });
  const where = element('p');
  const cost = element('p');
  const endpoint = element('p');
  const actions = element('div', { class: 'conduit-bar' });
  const question = element('div');
  const lines = element('pre', { tabindex: '0', 'aria-label': 'Log' });
  const logs = element('details', {}, element('summary', {}, 'Log'), lines);
  const said = element('textarea', { rows: '2', 'aria-label': 'Question' });
  const which = element('select');
  const answered = element('pre', {
    tabindex: '0',
    'aria-label': 'Answer',
    'aria-live': 'polite',
    hidden: true,
  });
  const ask = button('Ask', askIt, 'Ask the model');
  const box = element(
    'details',
    {},
    element('summary', {}, 'Try it'),
    labelled('model', which),
    said,
    ask,
    answered,
  );
  const root = element(
    'article',
    { class: 'conduit-card', 'data-key': key },
    name,
    status,
    where,
    cost,
    endpoint,
    actions,
    question,
    logs,
    box,
  );
  logs.addEventListener('toggle', () => asks.send({ kind: 'logs', key, open: logs.open }));

  let isShownFirst = true;
  let offered = '';
  return {
    root,
    /**
     * @param {Deployment} one
     * @param {Overview} told
     */
    show(one, told) {
      const before = now;
      now = one;
      overview = told;
      name.textContent = `${one.name} (${one.runtime})`;
      where.textContent = [
        one.provider,
        one.region,
        one.device,
        one.nodes && `${one.nodes} nodes ready`,
      ]
        .filter(Boolean)
        .join(', ');
      endpoint.textContent = told.urls[key] ? `Endpoint: ${told.urls[key]}` : '';
      const isBooting = BOOTING.includes(one.status);
      if (isBooting && isShownFirst) {
        logs.open = true;
      }
      isShownFirst = false;
      box.hidden = one.status !== 'running' || Object.keys(one.models).length === 0;
      const models = Object.keys(one.models);
      if (models.join('\n') !== offered) {
        offered = models.join('\n');
        offer(which, models.map(named));
      }
      if (before?.status !== one.status) {
        drawActions(one);
      }
      drawStatus();
    },
    drawTimes: drawStatus,
    /** @param {string[]} told */
    log(told) {
      const wasAtEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 4;
      lines.textContent = told.join('\n') || 'Nothing is logged so far.';
      if (wasAtEnd) {
        lines.scrollTop = lines.scrollHeight;
      }
    },
    /** @param {{ text: string, state?: string, error?: import('./elements.js').Problem }} told */
    answer(told) {
      if (!hasStartedAnswer) {
        answered.textContent = '';
        hasStartedAnswer = true;
      }
      answered.append(told.text);
      if (told.error) {
        answered.append(`${told.error.message} ${told.error.hint ?? ''}`);
      }
      if (told.state) {
        ask.disabled = false;
      }
    },
  };

  function askIt() {
    if (!said.value.trim()) {
      said.focus();
      return;
    }
    hasStartedAnswer = false;
    answered.hidden = false;
    answered.textContent = '…';
    ask.disabled = true;
    asks.send({ kind: 'ask', key, model: which.value, text: said.value });
  }

  /** @param {Deployment} one */
  function drawActions(one) {
    const act = (/** @type {string} */ word) => () => asks.send({ kind: 'act', key, word });
    const asked = (
      /** @type {string} */ label,
      /** @type {string} */ word,
      /** @type {string} */ what,
    ) => {
      const made = button(
        `${label} …`,
        () => confirm(question, what, label, act(word), () => made.focus()),
        `${label} ${one.name}`,
      );
      return made;
    };
    if (one.id === null) {
      fill(
        actions,
        asked('Stop', 'stop', `Stop ${one.name}? The next block that needs it starts it.`),
      );
      return;
    }
    fill(
      actions,
      one.status === 'running' &&
        button('Extend 1 h', act('extend'), `Extend ${one.name} by an hour from now`),
      one.status === 'stopped' && button('Start', act('start'), `Start ${one.name} again`),
      one.status === 'running' &&
        asked('Stop', 'stop', `Stop ${one.name}? What it has on disk stays, and may cost.`),
      asked('Terminate', 'terminate', `Terminate ${one.name} for good?`),
    );
  }

  function drawStatus() {
    if (!now || !overview) {
      return;
    }
    if (!asks.isAlive()) {
      status.textContent = `disconnected, last seen ${asks.seenAt()}`;
      cost.textContent = '';
      return;
    }
    status.textContent = [now.status, now.detail].filter(Boolean).join(': ');
    const rate = now.usd_per_hour ?? 0;
    const spent = overview.spent[key];
    const left = now.lease_until ? (Date.parse(now.lease_until) - Date.now()) / 1000 : null;
    cost.textContent = [
      `${usd(rate)}/h`,
      spent !== undefined && `${usd(spent + grown(overview, rate))} so far`,
      left !== null && (left > 0 ? `ends in ${span(left)}` : 'its lease is over'),
    ]
      .filter(Boolean)
      .join(', ');
  }
}

/**
 * What was added since the kernel counted.
 *
 * @param {Overview} overview
 * @param {number} rate Dollars per hour.
 */
function grown(overview, rate) {
  return (Math.max(0, Date.now() - Date.parse(overview.as_of)) / 3_600_000) * rate;
}

export default { render };
