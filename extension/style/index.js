import './shared.css';
import './base.css';
