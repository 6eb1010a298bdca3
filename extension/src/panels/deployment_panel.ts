/** The panel of `%conduit panel`: from a model's id to something that answers, and back to nothing. */

import { ALL } from '../shared/client.js';
import { DeploymentList, notesView, summaryView } from '../shared/deployments.js';
import { element, meantBy, show } from '../shared/dom.js';
import { labelled, offer } from '../shared/offerings.js';
import { Store } from '../shared/store.js';
import { carryOut, terminateAllButton } from '../shared/verbs.js';
import type { Heard } from './comm.js';
import { Panel, widgetOf } from './panel.js';
import type { Given } from './panel.js';
import { TryBoxes } from './try_boxes.js';

const REDRAW_MS = 1_000;

class DeploymentPanel extends Panel {
  private readonly store = new Store();
  private readonly boxes = new TryBoxes(this.comm, () => this.list.update());
  private readonly list = new DeploymentList(this.store, this.comm, this.questions.ask, {
    opensBootLogs: true,
    below: (one, name) => [this.questions.view(one.key), this.boxes.view(one, name)],
  });
  private readonly overview = element('div');
  private readonly modelId = element('input', {
    type: 'text',
    placeholder: 'owner/model, or a folder',
    size: '40',
    required: true,
  });
  private readonly runtime = element('select');
  private readonly form = element(
    'form',
    { class: 'conduit-form', 'aria-label': 'Deploy a model' },
    labelled('model', this.modelId),
    labelled('runtime', this.runtime),
    element('button', { type: 'submit', class: 'conduit-button' }, 'Show what holds it'),
  );
  /** Without a kernel nothing in it can be pressed. */
  private readonly controls = element('fieldset', { class: 'conduit-controls' });
  private readonly timer = setInterval(() => {
    this.draw(); // ages and amounts grow by themselves
  }, REDRAW_MS);

  constructor(given: Given) {
    super(given, 'Deployments');
    this.offerings.root.hidden = true;
    this.controls.append(this.overview, this.form, this.offerings.root, this.said, this.list.root);
    this.root.append(this.controls);
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.plan(false);
    });
    this.root.addEventListener('click', (event) => {
      this.boxes.press(event);
      if (meantBy(event)?.action === 'terminate-all') {
        const { state } = this.store;
        void carryOut(this.comm, this.questions.ask, state, ALL, 'terminate');
      }
    });
    this.begin();
  }

  override end(): void {
    clearInterval(this.timer);
    this.list.close();
    super.end();
  }

  protected override connect(): void {
    const { isAlive, seenAt } = this.comm;
    this.controls.disabled = !isAlive;
    if (!isAlive) {
      this.store.lose(
        `Disconnected, last seen ${seenAt}: what runs may go on and cost. ` +
          'If the kernel is idle, run this cell again to see it.',
      );
    }
    super.connect();
  }

  protected override take(message: Heard): void {
    switch (message.kind) {
      case 'overview':
        this.store.take(message);
        this.draw();
        break;
      case 'choices':
        offer(
          this.runtime,
          (message.runtimes ?? []).map((name) => [name, name]),
        );
        this.modelId.value ||= message.model ?? '';
        super.take(message);
        break;
      case 'table':
        this.offerings.root.hidden = false;
        this.say('');
        super.take(message);
        break;
      case 'answer':
        this.boxes.take(message);
        break;
      default:
        super.take(message);
    }
  }

  protected override refresh(): void {
    this.plan(true);
  }

  protected override draw(): void {
    const { state } = this.store;
    show(
      this.overview,
      ...notesView(state),
      summaryView(state, this.store.now()),
      state.deployments.length > 0 && terminateAllButton(),
      this.questions.view(ALL),
    );
    this.list.update();
  }

  /** Asks what holds the model; where `isFresh`, every provider again. */
  private plan(isFresh: boolean): void {
    this.say('Planning, and asking every provider …');
    this.comm.send({
      kind: 'plan',
      model: this.modelId.value,
      runtime: this.runtime.value,
      fresh: isFresh,
    });
  }
}

export default widgetOf(DeploymentPanel);
